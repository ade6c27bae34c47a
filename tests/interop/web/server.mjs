// A server on the genuine package: prints its port, and serves until its standard input ends.
import { newWebSocketRpcSession, RpcTarget } from "capnweb";
import WebSocket, { WebSocketServer } from "ws";

globalThis.WebSocket ??= WebSocket;  // Node 20 has none

class Room extends RpcTarget {
  constructor(name) { super(); this.kept = name; }
  name() { return this.kept; }
  get title() { return `the ${this.kept}`; }
}

class Api extends RpcTarget {
  #kept = [];
  echo(value) { return value; }
  kind(value) { return value === undefined ? "undefined" : (value?.constructor?.name ?? String(value)); }
  values() {
    return {
      scalars: [true, null, 0, -1, 1.5, "text"],
      special: [NaN, Infinity, -Infinity, undefined],
      big: 2n ** 80n,
      date: new Date(1234567890123),
      bytes: new Uint8Array([0, 255]),
      floats: new Float64Array([0.5, -2]),
      url: new URL("https://example.org/x?y"),
      error: new RangeError("far"),
    };
  }
  fail() { throw Object.assign(new TypeError("wrong"), { code: 7 }); }
  makeRoom(name) { return new Room(name); }
  makeFunction(by) { return (x) => x * by; }
  async callMe(f, x) { return await f(x); }
  async ask(target) { return await target.greet("JavaScript"); }
  async later(ms) { await new Promise((resolve) => setTimeout(resolve, ms)); return ms; }
  keep(stub) { this.#kept.push(stub.dup()); return this.#kept.length; }
  drop() { for (const stub of this.#kept.splice(0)) stub[Symbol.dispose](); }
  count = 0;
  add() { this.count += 1; }
  counted() { return this.count; }
}

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
server.on("connection", (socket) => {
  const session = newWebSocketRpcSession(socket, new Api());
  socket.on("message", (data) => { if (process.env.SHOW) console.error(String(data)); });
  void session;
});
server.on("listening", () => process.stdout.write(`${server.address().port}\n`));
process.stdin.on("end", () => process.exit(0));
process.stdin.resume();
