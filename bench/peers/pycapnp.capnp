@0xd1c7a3b5e9f20864;
# The schema of the bench's pycapnp row, loaded at run time.

struct Record {
  user @0 :Text;
  n @1 :Int64;
  tags @2 :List(Text);
  ratio @3 :Float64;
}

struct Point {
  name @0 :Text;
  x @1 :Int64;
  y @2 :Float64;
}

interface Token {}

interface Observer {
  set @0 (key :Text, value :Int64) -> ();
}

interface Bench {
  echo @0 (value :Record) -> (value :Record);
  records @1 (value :List(Record)) -> (value :List(Record));
  bytes @2 (value :Data) -> (value :Data);
  points @3 (value :List(Point)) -> (value :List(Point));
  swap @4 (token :Token) -> (token :Token);
  live @5 () -> (count :Int64);
  watch @6 (observer :Observer) -> ();
  publish @7 (first :Int64, count :Int64) -> ();
  read @8 () -> (chunk :Data);
}
