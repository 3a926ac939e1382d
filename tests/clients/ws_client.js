// A client of ws that walks through what WebSockets must be able to do, prints a line for each step that held, and ends with 1 at the
// first that did not. The servers are those of endpoints.py, three of them.
//
//     node ws_client.js URL
"use strict";

const assert = require("node:assert/strict");
const crypto = require("node:crypto");
const { once } = require("node:events");
const WebSocket = require("ws");

const CHAT = "chat.v2";
const REASON = "genug für heute";
const PATIENCE = 8000;
const url = process.argv[2];

function tell(it) {
  process.stdout.write(JSON.stringify(it) + "\n");
}

async function opened({ path = "/", protocols = [], deflate = false, headers = {} } = {}) {
  const socket = new WebSocket(url + path, protocols, { perMessageDeflate: deflate && { threshold: 0 }, maxPayload: 0, headers });
  // Whatever comes while nobody waits for it.
  socket.messages = [];
  socket.on("message", (data, isBinary) => socket.messages.push(isBinary ? data : data.toString()));
  await once(socket, "open");
  return socket;
}

async function received(socket) {
  while (!socket.messages.length) {
    await once(socket, "message");
  }
  return socket.messages.shift();
}

async function asked(socket) {
  socket.send("?");
  return JSON.parse(await received(socket));
}

async function closed(socket, code, reason) {
  const over = once(socket, "close");
  socket.close(code, reason);
  return (await over)[0];
}

const steps = {
  async "text, binary and empty messages"() {
    const socket = await opened();
    const messages = ["Grüße, 世界", Buffer.from([0, 255, 13, 10, 13, 10]), "", Buffer.alloc(0), "x".repeat(126), Buffer.alloc(65536, "x")];
    messages.forEach((message) => socket.send(message));
    for (const message of messages) {
      assert.deepEqual(await received(socket), message);
    }
    assert.equal(await closed(socket, 1000), 1000);
  },

  async "5 MiB"() {
    const socket = await opened();
    const message = crypto.randomBytes(5 * 2 ** 20);
    socket.send(message);
    assert(message.equals(await received(socket)));
    assert.equal(await closed(socket, 1000), 1000);
  },

  async "fragments with a ping between"() {
    const socket = await opened();
    const pong = once(socket, "pong");
    socket.send("one ", { fin: false });
    socket.ping("between");
    assert.equal((await pong)[0].toString(), "between");
    socket.send("two ", { fin: false });
    socket.send("three", { fin: true });
    assert.equal(await received(socket), "one two three");
    assert.equal(await closed(socket, 1000), 1000);
  },

  async "permessage-deflate"() {
    const socket = await opened({ deflate: true });
    assert(socket.extensions.includes("permessage-deflate"), socket.extensions);
    assert.equal((await asked(socket)).deflate, true);
    const message = "all work and no play ".repeat(50000);
    socket.send(message);
    assert.equal(await received(socket), message);
    const carried = socket._socket.bytesRead + socket._socket.bytesWritten;
    assert(carried < message.length / 10, `${carried} bytes`);
    assert.equal(await closed(socket, 1000), 1000);
    const plain = await opened();
    assert.equal(plain.extensions, "");
    assert.equal((await asked(plain)).deflate, false);
    assert.equal(await closed(plain, 1000), 1000);
  },

  async "subprotocol"() {
    const socket = await opened({ protocols: ["chat.v3", CHAT, "chat.v1"] });
    assert.equal(socket.protocol, CHAT);
    assert.equal((await asked(socket)).protocol, CHAT);
    assert.equal(await closed(socket, 1000), 1000);
  },

  async "close by the client"() {
    // What the server read is the test's to see; aiohttp answers every close with 1000.
    assert([1000, 4001].includes(await closed(await opened(), 4001, REASON)));
  },

  async "close by the server"() {
    for (const code of [1000, 1001, 4001]) {
      const socket = await opened();
      const over = once(socket, "close");
      socket.send(`!close ${code} ${REASON}`);
      const [seen, reason] = await over;
      assert.deepEqual([seen, reason.toString()], [code, REASON]);
    }
  },

  async "ping and pong"() {
    const socket = await opened();
    const pong = once(socket, "pong");
    socket.ping("from the client");
    assert.equal((await pong)[0].toString(), "from the client");
    const ping = once(socket, "ping");
    socket.send("!ping from the server");
    assert.equal((await ping)[0].toString(), "from the server");
    assert.equal(await received(socket), "pong from the server");
    assert.equal(await closed(socket, 1000), 1000);
  },

  async "query and cookies"() {
    const path = "/rooms/a%2Fb?room=1&room=2&name=%C3%A9&empty=";
    const cookie = "session=abc123; theme=dark";
    const socket = await opened({ path, headers: { cookie } });
    const it = await asked(socket);
    assert.deepEqual([it.path, it.cookie], [path, cookie]);
    assert.equal(await closed(socket, 1000), 1000);
  },

  async "each with its own target"() {
    const sockets = [];
    for (let count = 0; count < 9; count += 1) {
      sockets.push(await opened());
    }
    const heard = sockets.map(() => new Set());
    for (let round = 0; round < 10; round += 1) {
      (await Promise.all(sockets.map(asked))).forEach((it, index) => heard[index].add(it.server));
    }
    assert.deepEqual(heard.map((names) => names.size), Array(9).fill(1));
    const names = heard.map((own) => [...own][0]).sort().join("");
    assert.equal(names, "000111222");
    await Promise.all(sockets.map((socket) => closed(socket, 1000)));
  },
};

async function main() {
  for (const [step, walk] of Object.entries(steps)) {
    const bound = setTimeout(() => {
      console.error(`${step}: not over after ${PATIENCE} ms`);
      process.exit(1);
    }, PATIENCE);
    await walk();
    clearTimeout(bound);
    tell({ step });
  }
  tell({ over: true });
}

process.stdin.resume().on("end", () => process.exit());
main().catch((error) => {
  console.error(error);
  process.exit(1);
});
