// A headless Chromium at the demo's page. Prints a line after each step, and waits for one where the test has something to do.
//
//     node browser.js URL [SCREENSHOT]
"use strict";

const { PATIENCE, launch, run, tell, told } = require("./headless.js");

const [url, screenshot] = process.argv.slice(2);

// Before the page's own script: what its WebSockets see at their end.
function watch() {
  window.ends = [];
  window.WebSocket = class extends WebSocket {
    constructor(...those) {
      super(...those);
      this.addEventListener("close", ({ code, reason, wasClean }) => window.ends.push({ code, reason, wasClean }));
    }
  };
}

// A session of its own, with cookies of its own.
async function opened(browser) {
  const page = await (await browser.newContext({ viewport: { width: 1000, height: 800 } })).newPage();
  page.setDefaultTimeout(PATIENCE);
  await page.addInitScript(watch);
  await page.goto(url);
  await page.waitForSelector("#pinned.name");
  return page;
}

async function lines(page) {
  return page.locator("#chat div").allTextContents();
}

async function read(page, text) {
  await page.locator("#chat div", { hasText: text }).waitFor();
}

async function main() {
  const browser = await launch();

  const [ann, bob] = await Promise.all([opened(browser), opened(browser)]);
  const pages = [];
  for (const page of [ann, bob]) {
    pages.push({
      page: await page.locator("html").getAttribute("data-target"),
      pinned: await page.locator("#pinned").textContent(),
    });
  }
  tell({ pages });

  await ann.fill("#text", "Is anybody there?");
  await ann.click("#say button:not([type])");
  await Promise.all([ann, bob].map((page) => read(page, "Is anybody there?")));
  await bob.fill("#text", "Yes, over here.");
  await bob.press("#text", "Enter");
  await Promise.all([ann, bob].map((page) => read(page, "Yes, over here.")));
  if (screenshot) {
    await ann.screenshot({ path: screenshot });
  }
  tell({ lines: [await lines(ann), await lines(bob)] });

  await told();
  await read(ann, "Closed (");
  tell({ ends: await ann.evaluate("ends"), last: (await lines(ann)).at(-1) });

  await told();
  await ann.click("#again");
  await ann.waitForSelector("#pinned.name");
  tell({ again: await ann.locator("#pinned").textContent() });
}

run(main);
