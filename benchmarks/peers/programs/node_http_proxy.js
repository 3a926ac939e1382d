// A reverse proxy made of http-proxy, as one writes it in an afternoon; requests and upgrades alike.
//
//     node node_http_proxy.js [--certificate FILE --key FILE] PORT TARGET...
'use strict';

const fs = require('fs');
const http = require('http');
const https = require('https');
const { parseArgs } = require('util');
const httpProxy = require('http-proxy');

const options = { certificate: { type: 'string' }, key: { type: 'string' } };
const { values: given, positionals } = parseArgs({ options, allowPositionals: true });
const [port, ...targets] = positionals;
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

const answer = (request, response) => proxy.web(request, response, { target: next() });
const server = given.certificate
  ? https.createServer({ cert: fs.readFileSync(given.certificate), key: fs.readFileSync(given.key) }, answer)
  : http.createServer(answer);
server.on('upgrade', (request, socket, head) => proxy.ws(request, socket, head, { target: next() }));
server.keepAliveTimeout = 300000;
server.listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 });
