// A reverse proxy made of http-proxy, as one writes it in an afternoon; requests and upgrades alike.
//
//     node node_http_proxy.js PORT TARGET...
'use strict';

const http = require('http');
const httpProxy = require('http-proxy');

const [port, ...targets] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true });
const proxy = httpProxy.createProxyServer({ agent, ws: true, xfwd: true });
let turn = 0;

function next() {
  turn = (turn + 1) % targets.length;
  return `http://127.0.0.1:${targets[turn]}`;
}

proxy.on('error', (error, request, response) => {
  if (response.writeHead && !response.headersSent) response.writeHead(502);
  response.end();
});

const server = http.createServer((request, response) => proxy.web(request, response, { target: next() }));
server.on('upgrade', (request, socket, head) => proxy.ws(request, socket, head, { target: next() }));
server.keepAliveTimeout = 300000;
server.listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 });
