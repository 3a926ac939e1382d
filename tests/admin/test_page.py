"""The policy of the page."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

from albkit.admin.page import read_page


def test_policy_has_the_hash_of_each_script_and_style() -> None:
    """A browser hashes the text between the tags."""
    page = read_page()
    for element, directive in (("script", "script-src"), ("style", "style-src")):
        texts = re.findall(rf"<{element}[^>]*>(.*?)</{element}>", page.content.decode(), re.DOTALL)
        allowed = page.policy.split(f"{directive} ")[1].split(";")[0]
        expected = [f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in texts]
        assert allowed == (" ".join(dict.fromkeys(expected)) or "'none'")
    assert "unsafe" not in page.policy


def test_page_loads_nothing_from_elsewhere() -> None:
    """No external asset, and no handler or style in an attribute, which the policy would not allow."""
    text = read_page().content.decode()
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", text)
    markup = re.sub(r"<(script|style)\b[^>]*>.*?</\1>", "", text, flags=re.DOTALL)
    assert not re.findall(r"<[^>]*\son[a-z]+\s*=", markup)
    assert not re.findall(r"<[^>]*\sstyle\s*=", markup)
    assert len(text.encode()) < 100 * 1024
