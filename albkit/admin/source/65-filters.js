// Filters.
const FIELDS = ["group", "target", "state", "client", "protocol", "listener", "kind"];
const CONDITIONS = { trouble: (i) => (i.state !== undefined ? isTrouble(i) : i.unhealthy > 0 || i.fails_open), draining: leaves, standby: (i) => i.standby };
const parsed = new Map();
function parse(words) {
  if (!parsed.has(words)) {
    if (parsed.size > 50) parsed.clear();
    const found = [...words.matchAll(/(?:(\w+):)?(?:"([^"]*)"|(\S+))/g)];
    parsed.set(words, found.map(([all, field, quoted, bare]) => {
      const value = quoted ?? bare;
      if (field === "is" && Object.hasOwn(CONDITIONS, value)) return { is: CONDITIONS[value] };
      if (FIELDS.includes(field)) return { field, value };
      return { word: (quoted !== undefined && !field ? quoted : all).toLowerCase() };
    }));
  }
  return parsed.get(words);
}
function passes(item, terms, find) {
  for (const { is, field, value, word } of terms) {
    if (is ? !is(item) : field ? String((field === "target" ? item.target ?? item.address : field === "state" && item.state ? shown(item) : item[field]) ?? "") !== value
      : !(item.$find ??= find(item).toLowerCase()).includes(word)) return false;
  }
  return true;
}
const term = (field, value) => `${field}:${/\s/.test(value) ? `"${value}"` : value}`;
