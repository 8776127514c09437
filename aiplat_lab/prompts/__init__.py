"""Prompts: readable text files with typed variables, saved as immutable versions, found by labels.

```python
from aiplat_lab import chat, prompts

prompts.save("summarise.prompt.md", "shorter")
prompts.label("summarise", "production", "latest", reason="wins on tickets")
print(chat(prompts.get("summarise@production").request({"text": letter})).text)
```
"""

from aiplat_lab.core.prompts import Entry, Reference, Shelf
from aiplat_lab.prompts._change import Change, Reason, compare
from aiplat_lab.prompts._front import read_values
from aiplat_lab.prompts._parse import SUFFIX, load, parse
from aiplat_lab.prompts._prompt import Block, Prompt
from aiplat_lab.prompts._registry import (
    LIBRARY,
    Diff,
    Move,
    Saved,
    diff,
    get,
    history,
    label,
    library,
    library_names,
    save,
    shelf,
)
from aiplat_lab.prompts._variables import Variable

__all__ = [
    "LIBRARY",
    "SUFFIX",
    "Block",
    "Change",
    "Diff",
    "Entry",
    "Move",
    "Prompt",
    "Reason",
    "Reference",
    "Saved",
    "Shelf",
    "Variable",
    "compare",
    "diff",
    "get",
    "history",
    "label",
    "library",
    "library_names",
    "load",
    "parse",
    "read_values",
    "save",
    "shelf",
]
