// A client on the genuine package: does what it was told on the command line, and prints one line of JSON.
import { newWebSocketRpcSession, RpcTarget, RpcStub } from "capnweb";
import WebSocket from "ws";

globalThis.WebSocket ??= WebSocket;  // Node 20 has none
const [url, what] = process.argv.slice(2);
const socket = new WebSocket(url);
const api = newWebSocketRpcSession(socket);

const same = async (value) => await api.echo(value);
const failure = async (call) => {
  try {
    await call;
    return "no error";
  } catch (error) {
    return { name: error.name, message: error.message, type: error.type };
  }
};

const done = {
  async values() {
    const moment = new Date(1234567890123);
    const deep = { list: [1, "two", [3, []]], empty: {}, nothing: null };
    const error = await same(new RangeError("far"));
    return {
      scalars: await same([true, false, null, 0, -1, 1.5, "text", "", "\u2603 \ud83d\ude00"]),
      undefined: await same(undefined),
      special: (await same([NaN, Infinity, -Infinity])).map(String),
      bigint: String(await same(2n ** 80n)),
      negative: String(await same(-(2n ** 70n))),
      safe: await same(Number.MAX_SAFE_INTEGER),
      date: (await same(moment)).getTime(),
      bytes: Array.from(await same(new Uint8Array([0, 1, 254, 255]))),
      floats: Array.from(await same(new Float64Array([0.5, -2]))),
      floatsAre: (await same(new Float64Array([0.5]))).constructor.name,
      url: await same(new URL("https://example.org/x?y")),
      error: [error.name, error.message, error instanceof RangeError],
      deep: await same(deep),
    };
  },
  async errors() {
    return {
      value: await failure(api.fail("value")),
      type: await failure(api.fail("type")),
      own: await failure(api.fail("own")),
      missing: await failure(api.noSuchMethod()),
      private: await failure(api.__class__()),
      pipelined: await failure(api.fail("value").name()),
      argument: await failure(api.echo(api.fail("value"))),
    };
  },
  async objects() {
    class Page extends RpcTarget {
      greet(name) { return `hello ${name}`; }
      get title() { return "a page"; }
    }
    const room = await api.makeRoom("kitchen");
    const callback = (x) => x * 2;
    return {
      version: await api.version,
      name: await room.name(),
      title: await room.title,
      twice: await api.callMe(callback, 21),
      greeting: await api.askGreeting(new Page(), "Python"),
      same: await api.isMine([room]),
      method: await (await api.echo)("through a method"),
      kept: await api.keep(new RpcStub(new Page())),
    };
  },
  async pipelining() {
    let node = api.node();
    for (let i = 0; i < 10; i++) node = node.next();
    const user = api.profile();
    return {
      depth: await node.depth(),
      friend: await api.echo(user.friends.best),
      deep: await api.profile().name,
      order: await Promise.all([api.append(1), api.append(2), api.append(3)]),
    };
  },
  async ahead() {  // the call that waits for next() must not hold up the push that next() needs
    const item = api.nextItem();
    const used = api.echo(item);
    const pushed = api.pushItem("x");
    return [await used, await pushed];
  },
  async callbacks() {
    const results = await Promise.all(Array.from({ length: 5000 }, (_, i) => api.callMe((x) => x + 1, i)));
    return results.every((value, i) => value === i + 1);
  },
  async forgotten() {
    for (let round = 0; round < 100; round++) {
      for (let i = 0; i < 1000; i++) api.count()[Symbol.dispose]();
      await api.echo(round);
    }
    return await api.counted();
  },
  async unreleased() {
    for (let round = 0; round < 100; round++) {
      for (let i = 0; i < 1000; i++) api.count();
      await api.echo(round);
    }
    return [await api.counted(), await api.memory()];
  },
  async awaited() {  // a promise that was awaited and is then sent
    const promise = api.makeRoom("old");
    await promise;
    const first = await failure(api.echo(promise));
    return [first, await api.echo("alive")];
  },
  async closed() {
    await api.echo(1);
    const broken = new Promise((resolve) => api.onRpcBroken((error) => resolve(error.message)));
    const pending = failure(api.forever());
    await failure(api.endMe());
    return [await broken, await pending];
  },
};

try {
  const result = await done[what]();
  process.stdout.write(JSON.stringify({ result }) + "\n");
} catch (error) {
  process.stdout.write(JSON.stringify({ error: String(error), stack: error.stack }) + "\n");
}
api[Symbol.dispose]();
socket.close();
