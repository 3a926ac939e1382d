// A headless Chromium with several tabs at a page over HTTP/2. Prints a line after each step, and waits for one before the next.
//
//     node h2_browser.js URL TABS
"use strict";

const { PATIENCE, launch, run, tell, told } = require("./headless.js");

const [url, tabs] = process.argv.slice(2);

// In the page: its stream of events, which says `hello` at its start.
function listen() {
  return new Promise((resolve, reject) => {
    const source = new EventSource("/events");
    window.heard = new Promise((said) => source.addEventListener("news", ({ data }) => said(data)));
    source.addEventListener("hello", () => resolve(performance.getEntriesByType("navigation")[0].nextHopProtocol));
    source.addEventListener("error", () => reject(new Error("the stream of events failed")));
  });
}

// In the page: a WebSocket that echoes.
function echo(size) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`wss://${location.host}/ws`);
    const heard = [];
    socket.binaryType = "arraybuffer";
    socket.addEventListener("error", () => reject(new Error("the WebSocket failed")));
    socket.addEventListener("close", ({ code, wasClean }) => resolve({ heard, code, wasClean }));
    socket.addEventListener("open", () => {
      socket.send("grüße");
      socket.send(Uint8Array.from({ length: size }, (_, place) => place % 251));
    });
    socket.addEventListener("message", ({ data }) => {
      heard.push(typeof data === "string" ? data : new Uint8Array(data).every((byte, place) => byte === place % 251) && data.byteLength);
      if (heard.length === 2) {
        socket.close(3000, "enough");
      }
    });
  });
}

async function main() {
  const browser = await launch("--ignore-certificate-errors");

  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const opened = async () => {
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    await page.goto(url);
    return page;
  };
  // The first one before the others, so that there is a connection for them to share.
  const pages = [await opened()];
  pages.push(...(await Promise.all(Array.from({ length: tabs - 1 }, opened))));
  tell({ protocols: await Promise.all(pages.map((page) => page.evaluate(listen))) });

  await told();
  tell({ heard: await Promise.all(pages.map((page) => page.evaluate("window.heard"))) });

  await told();
  tell(await pages[0].evaluate(echo, 200000));
}

run(main);
