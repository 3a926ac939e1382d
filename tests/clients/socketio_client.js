// Clients of Socket.IO, all at once: long polling first, then WebSocket. Prints one line with what became of each; whether that is good is
// the test's to say. A client that cannot connect does not try again.
//
//     node socketio_client.js URL COUNT (with-cookies | without-cookies)
"use strict";

const { once } = require("node:events");
const { io } = require("socket.io-client");

const PATIENCE = 5000;
const ROUNDS = 5;
const [url, count, cookies] = process.argv.slice(2);

function bounded(promise, what) {
  let timer;
  const bound = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not over after ${PATIENCE} ms`)), PATIENCE);
  });
  return Promise.race([promise, bound]).finally(() => clearTimeout(timer));
}

function client() {
  const socket = io(url, { forceNew: true, reconnection: false, withCredentials: cookies === "with-cookies" });
  const it = { socket, heard: [], names: new Set() };
  socket.on("said", (text) => it.heard.push(text));
  it.upgraded = new Promise((resolve) => socket.io.once("open", () => socket.io.engine.once("upgrade", resolve)));
  it.connected = new Promise((resolve) => {
    socket.once("connect", () => resolve(true));
    socket.once("connect_error", () => resolve(false));
    socket.once("disconnect", () => resolve(false));
    setTimeout(resolve, PATIENCE, false).unref();
  });
  return it;
}

async function ask(it) {
  const answer = await it.socket.timeout(PATIENCE).emitWithAck("who");
  it.names.add(answer.name);
  return answer;
}

async function main() {
  const clients = Array.from({ length: Number(count) }, client);
  const connected = (await Promise.all(clients.map((it) => it.connected))).filter(Boolean).length;
  if (connected < clients.length) {
    clients.forEach((it) => it.socket.disconnect());
    return { connected };
  }
  await Promise.all(clients.map(ask));
  await bounded(Promise.all(clients.map((it) => it.upgraded)), "upgrade");
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [index, answer] of (await Promise.all(clients.map(ask))).entries()) {
      clients[index].answer = answer;
    }
  }

  // A room is its target's alone.
  for (const it of clients) {
    it.members = await it.socket.timeout(PATIENCE).emitWithAck("join", "room");
  }
  await clients[0].socket.timeout(PATIENCE).emitWithAck("say", "room", "hello");
  // An answer that was asked for now comes behind what was said before.
  await Promise.all(clients.map(ask));

  const outcomes = clients.map((it) => ({
    names: [...it.names],
    first: it.answer.first,
    now: it.answer.now,
    members: it.members,
    heard: it.heard,
  }));
  clients.forEach((it) => it.socket.disconnect());
  await bounded(Promise.all(clients.map((it) => it.socket.connected && once(it.socket, "disconnect"))), "disconnect");
  return { connected, outcomes };
}

process.stdin.resume().on("end", () => process.exit());
main().then(
  (outcome) => process.stdout.write(JSON.stringify(outcome) + "\n"),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
