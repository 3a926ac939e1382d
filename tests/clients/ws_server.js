// A server of ws; endpoints.py says what it answers. Prints its port, then a line for each connection that has ended.
//
//     node ws_server.js NAME
"use strict";

const { WebSocketServer } = require("ws");

const CHAT = "chat.v2";
const name = process.argv[2];

function tell(it) {
  process.stdout.write(JSON.stringify(it) + "\n");
}

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  maxPayload: 0,
  perMessageDeflate: { threshold: 0 },
  handleProtocols: (offered) => (offered.has(CHAT) ? CHAT : false),
});

function command(socket, request, text) {
  const [word, ...rest] = text.split(" ");
  if (word === "?") {
    const deflate = socket.extensions.includes("permessage-deflate");
    const { url: path, headers } = request;
    socket.send(JSON.stringify({ server: name, path, cookie: headers.cookie || "", protocol: socket.protocol, deflate }));
  } else if (word === "!close") {
    socket.close(Number(rest[0]), rest.slice(1).join(" "));
  } else if (word === "!ping") {
    socket.ping(rest.join(" "));
  } else if (word === "!fragments") {
    socket.send("one ", { fin: false });
    socket.send("two ", { fin: false });
    socket.send("three", { fin: true });
  } else {
    socket.send(text);
  }
}

server.on("connection", (socket, request) => {
  socket.on("message", (data, isBinary) => {
    if (isBinary) {
      socket.send(data);
    } else {
      command(socket, request, data.toString());
    }
  });
  socket.on("pong", (data) => socket.send("pong " + data.toString()));
  socket.on("close", (code, reason) => tell({ code, reason: reason.toString() }));
  socket.on("error", (error) => {
    console.error(error);
    process.exitCode = 1;
  });
});
server.on("listening", () => tell({ port: server.address().port }));

process.stdin.resume().on("end", () => process.exit());
