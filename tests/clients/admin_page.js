// A headless Chromium at the live page of the admin API. Prints a line after each step, and waits for one where the test has something to do.
//
//     node admin_page.js URL SCENARIO [WIDTH HEIGHT SCHEME]
//
// The last line is what went wrong in the browser itself: errors, requests to other origins, violations of the page's policy.
"use strict";

const { PATIENCE, launch, run, tell, told } = require("./headless.js");

const [url, scenario, width = "1280", height = "900", scheme = "light"] = process.argv.slice(2);

// Runs in the page before its own script.
function watch() {
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`));
}

const row = (page, name) => page.locator("#targets tbody tr", { hasText: name });
const view = (page, name) => page.locator(`nav a[data-to="${name}"]`).click();
const toast = (page) => page.locator(".toast p").last();
const state = (page, name) => row(page, name).locator(".badge").first().textContent();
// The words of the state without its seconds.
const first = (words) => words.trim().split(" ")[0];
const active = (page) => page.evaluate(() => document.activeElement.getAttribute("aria-label") || document.activeElement.textContent.trim());

const scenarios = {
  // A target drains and comes back; its weight changes and is as before; tunnels are closed after a question.
  async actions(page) {
    await view(page, "targets");
    const target = await page.locator("#targets tbody button.name").first().textContent();
    await row(page, target).getByRole("button", { name: /^Drain/ }).click();
    await page.waitForFunction((name) => [...document.querySelectorAll("#targets tbody tr")].some((one) => one.textContent.includes(name) && /drain/.test(one.textContent)), target);
    tell({ target, state: first(await state(page, target)), toast: await toast(page).textContent(), again: await row(page, target).locator("button.small").textContent() });
    await page.locator(".toast .undo").click();
    await row(page, target).getByRole("button", { name: /^Drain/ }).waitFor();
    tell({ toast: await toast(page).textContent(), again: await row(page, target).locator("button.small").textContent() });

    await row(page, target).locator("button.name").click();
    await page.locator("#panel input[name=weight]").fill("7");
    await page.locator("#panel input[name=weight]").press("Enter");
    await page.locator(".toast p", { hasText: "Weight" }).waitFor();
    const weight = await toast(page).textContent();
    await page.keyboard.press("Escape");
    const closed = !(await page.locator("#panel").isVisible());
    await page.keyboard.press("u");
    await page.locator(".toast p", { hasText: "as it was" }).waitFor();
    tell({ weight, closed });

    await view(page, "tunnels");
    const before = await page.locator("#tunnels-note").textContent();
    const close = page.locator("#tunnels tbody tr").first().getByRole("button", { name: /^Close/ });
    await close.click();
    const question = await page.locator("#ask").innerText();
    await page.keyboard.press("Escape");
    await close.click();
    await page.locator("#ask-yes").click();
    await page.locator(".toast p", { hasText: "1 tunnel closed" }).waitFor();
    await page.mouse.move(0, 0);
    await page.waitForFunction((was) => document.querySelector("#tunnels-note").textContent !== was, before);
    tell({ before, question, after: await page.locator("#tunnels-note").textContent() });

    await page.locator("#close-all").click();
    const all = await page.locator("#ask").innerText();
    await page.locator("#ask-yes").click();
    await page.getByText("No tunnels are open.").waitFor();
    tell({ all });

    await view(page, "routing");
    await page.locator("#try input[name=url]").fill("http://localhost/api/x");
    await page.locator("#try button").click();
    await page.locator("#try-answer li").first().waitFor();
    tell({ why: await page.locator("#try-answer li").allTextContents() });
  },

  // Everything without a mouse.
  async keyboard(page) {
    const stops = [];
    for (let n = 0; n < 12; n++) {
      await page.keyboard.press("Tab");
      stops.push(await active(page));
      // The style sheet draws a visible outline around what has the focus.
      if (n) stops.push(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle));
    }
    tell({ stops });
    await page.keyboard.press("g");
    await page.keyboard.press("t");
    await page.waitForFunction(() => location.hash === "#targets");
    const heading = await active(page);
    await page.keyboard.press("/");
    const filter = await active(page);
    await page.keyboard.type("10.0.0.2:");
    await page.waitForFunction(() => document.querySelectorAll("#targets tbody tr").length === 1);
    // Past the choice of a group, three chips and Register a target, into the heads of the table, and down into its rows.
    for (let n = 0; n < 6; n++) await page.keyboard.press("Tab");
    const head = await active(page);
    await page.keyboard.press("ArrowRight");
    const next = await active(page);
    await page.keyboard.press("Enter");
    const sorted = await page.locator("#targets th[aria-sort]").textContent();
    await page.keyboard.press("ArrowDown");
    const name = await active(page);
    await page.keyboard.press("Enter");
    const panel = await active(page);
    await page.keyboard.press("Escape");
    const back = await active(page);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    const button = await active(page);
    await page.keyboard.press(" ");
    await page.locator(".toast .undo").waitFor();
    const drains = await toast(page).textContent();
    await page.keyboard.press("u");
    await page.locator(".toast p", { hasText: "is back" }).waitFor();
    await page.keyboard.press("?");
    const help = await page.locator("#help").isVisible();
    await page.keyboard.press("Escape");
    tell({ heading, filter, head, next, sorted, name, panel, back, button, drains, help });
  },

  // Each view at this size and in this scheme: nothing is wider than the window, everything has a name, colors have contrast.
  async looks(page) {
    const seen = {};
    for (const name of ["overview", "groups", "targets", "tunnels", "routing", "history"]) {
      await view(page, name);
      await page.waitForFunction((to) => !document.querySelector(`[data-view="${to}"]`).hidden, name);
      seen[name] = await page.evaluate(inspect);
    }
    await view(page, "targets");
    await page.locator("#targets tbody button.name").first().click();
    seen.panel = await page.evaluate(inspect);
    tell({ seen });
  },

  // The rows in the document, and the time that a sort takes.
  async scale(page) {
    await view(page, "tunnels");
    await page.waitForFunction(() => document.querySelectorAll("#tunnels tbody tr").length > 5);
    const times = [];
    for (const head of ["Client", "Bytes in", "Idle", "Target", "Age"]) {
      await page.locator("#tunnels th button", { hasText: head }).click();
      times.push(Number(await page.evaluate(() => document.documentElement.dataset.sorted)));
    }
    const rows = await page.locator("#tunnels tbody tr").count();
    await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight / 2));
    await page.waitForTimeout(200);
    const middle = await page.evaluate(() => [...document.querySelectorAll("#tunnels tbody tr")].map((one) => Number(one.getAttribute("aria-rowindex"))));
    const places = await page.locator("#tunnels tbody tr").count();
    await page.keyboard.press("/");
    await page.keyboard.type("192.0.2.77:");
    const found = await page.locator("#tunnels-note").textContent();
    await view(page, "targets");
    await page.waitForFunction(() => document.querySelectorAll("#targets tbody tr").length > 5);
    const targets = await page.locator("#targets tbody tr").count();
    tell({ rows, middle: [Math.min(...middle), Math.max(...middle)], places, found, targets, times });
    await told();
  },

  // A table does not move below the pointer, and what has gone stays as a line without buttons until the pointer leaves.
  async held(page) {
    await view(page, "tunnels");
    await page.locator("#tunnels tbody tr").nth(1).hover();
    const order = () => page.locator("#tunnels tbody button.name").allTextContents();
    tell({ order: await order() });
    await told();
    await page.locator("#tunnels tbody tr[data-gone]").waitFor();
    tell({ order: await order(), gone: await page.locator("#tunnels tbody tr[data-gone] button:visible").count() });
    await page.mouse.move(0, 0);
    await page.waitForFunction(() => !document.querySelector("#tunnels tbody tr[data-gone]"));
    tell({ order: await order() });
  },

  // Text of the load balancer is text.
  async hostile(page) {
    for (const name of ["overview", "groups", "targets", "tunnels", "routing", "history"]) await view(page, name);
    await view(page, "targets");
    await page.locator("#targets tbody button.name", { hasText: "<img" }).click();
    tell({ markup: await page.locator("img, b:has-text('bold'), script[src]").count(), title: await page.locator("#panel-title").textContent(), alarm: await page.evaluate("window.alarm ?? null") });
  },

  // Refusals in words.
  async refusals(page) {
    await view(page, "targets");
    await page.getByRole("button", { name: "Register a target" }).locator("visible=true").click();
    await page.locator("#register input[name=target]").fill("nowhere");
    await page.locator("#register input[name=weight]").fill("1000");
    await page.locator("#register button.main").click();
    await page.locator("#register .fault div").nth(1).waitFor();
    tell({ faults: await page.locator("#register .fault div").allTextContents(), invalid: await page.locator("#register [aria-invalid]").evaluateAll((all) => all.map((one) => one.name)) });
    await page.locator("#register input[name=target]").fill("10.9.9.9:80");
    await page.locator("#register input[name=weight]").fill("3");
    await page.locator("#register button.main").click();
    await page.locator(".toast p", { hasText: "is registered" }).waitFor();
    await row(page, "10.9.9.9:80").waitFor();
    tell({ registered: await toast(page).textContent() });
    await told();
    await page.locator("#notice:not([hidden])").waitFor();
    tell({ notice: await page.locator("#notice-text").textContent() });
    await row(page, "10.9.9.9:80").getByRole("button", { name: /^Drain/ }).click();
    await page.locator(".toast.bad").waitFor();
    tell({ toast: await toast(page).textContent() });
    await told();
    await page.locator("#reconnect").click();
    await page.locator("#link[data-is=live]").waitFor();
    tell({ hidden: await page.locator("#notice").isHidden() });
  },

  // The form for the token comes first, and again if it is wrong.
  async token(page) {
    await page.locator("#token[open]").waitFor();
    await page.locator("#token input").fill("wrong");
    await page.keyboard.press("Enter");
    await page.locator("#token .fault", { hasText: "did not accept" }).waitFor();
    await page.locator("#token input").fill("right");
    await page.keyboard.press("Enter");
    await page.locator("#link[data-is=live]").waitFor();
    await page.reload();
    await page.locator("#link[data-is=live]").waitFor();
    tell({ asked: await page.locator("#token[open]").count(), kept: await page.evaluate(() => Object.keys(localStorage)) });
  },
};

// Runs in the page: what a person with a screen reader, a phone or weak eyes would stumble over.
function inspect() {
  const visible = [...document.querySelectorAll("body *")].filter((one) => one.checkVisibility({ checkVisibilityCSS: true }));
  const said = (one) => (one.getAttribute("aria-label") || one.textContent || one.title || "").trim();
  const nameless = [
    ...visible.filter((one) => one.matches("button, a[href]") && !said(one)),
    ...visible.filter((one) => one.matches("input, select, textarea") && !one.getAttribute("aria-label") && !one.labels?.length),
    ...visible.filter((one) => one.matches("canvas") && one.getAttribute("aria-hidden") !== "true" && !one.getAttribute("aria-label")),
  ].map((one) => one.outerHTML.slice(0, 120));
  const tables = visible.filter((one) => one.matches("table"));
  const headless = tables.filter((one) => !one.querySelector("th[scope=col]") || !(one.getAttribute("aria-label") || one.caption)).map((one) => one.outerHTML.slice(0, 120));
  const small = visible.filter((one) => one.matches("button, a[href], input, select") && !one.matches(".skip") && one.getBoundingClientRect().height < 16).map((one) => one.outerHTML.slice(0, 120));

  // WCAG 2.2, 1.4.3: the contrast of text with what is behind it. Colors are drawn to be read as plain numbers.
  const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const drawn = (...colors) => {
    pen.clearRect(0, 0, 1, 1);
    for (const color of colors) { pen.fillStyle = color; pen.fillRect(0, 0, 1, 1); }
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)).reduce((all, part, n) => all + part * [0.2126, 0.7152, 0.0722][n], 0);
  const faint = new Set();
  for (const one of visible) {
    if (![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) || one.closest(".sr, .skip, :disabled")) continue;
    const behind = [];
    for (let up = one; up; up = up.parentElement) behind.unshift(getComputedStyle(up).backgroundColor);
    const [front, back] = [light(drawn("Canvas", ...behind, getComputedStyle(one).color)), light(drawn("Canvas", ...behind))];
    const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    if (ratio < 4.5) faint.add(`${ratio.toFixed(2)} ${one.tagName}.${one.className}: ${one.textContent.slice(0, 40)}`);
  }
  return { wider: document.body.scrollWidth - document.body.clientWidth, nameless, headless, small, faint: [...faint], back: drawn(getComputedStyle(document.body).backgroundColor) };
}

async function main() {
  const browser = await launch();
  const context = await browser.newContext({ viewport: { width: Number(width), height: Number(height) }, colorScheme: scheme, reducedMotion: "reduce" });
  const page = await context.newPage();
  const wrong = { errors: [], foreign: [] };
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (error) => wrong.errors.push(String(error.stack)));
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) wrong.errors.push(message.text()); });
  page.on("request", (request) => { if (new URL(request.url()).origin !== new URL(url).origin && !request.url().startsWith("data:")) wrong.foreign.push(request.url()); });
  await page.addInitScript(watch);
  await page.goto(url);
  if (scenario !== "token") await page.locator("#link[data-is=live]").waitFor();
  await scenarios[scenario](page);
  tell({ ...wrong, violations: await page.evaluate("window.violations") });
}

run(main);
