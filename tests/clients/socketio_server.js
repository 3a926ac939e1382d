// A server of Socket.IO that keeps its sessions to itself, as every one does. Prints its port.
//
//     node socketio_server.js NAME
"use strict";

const http = require("node:http");
const { Server } = require("socket.io");

const name = process.argv[2];
const server = http.createServer();
const io = new Server(server);

io.on("connection", (socket) => {
  const first = socket.conn.transport.name;
  socket.on("who", (acknowledge) => acknowledge({ name, first, now: socket.conn.transport.name }));
  socket.on("join", (room, acknowledge) => {
    socket.join(room);
    acknowledge(io.sockets.adapter.rooms.get(room).size);
  });
  socket.on("say", (room, text, acknowledge) => {
    io.to(room).emit("said", text);
    acknowledge();
  });
});

server.listen(0, "127.0.0.1", () => process.stdout.write(JSON.stringify({ port: server.address().port }) + "\n"));
process.stdin.resume().on("end", () => process.exit());
