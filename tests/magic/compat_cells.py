"""Cells in the syntax that jupyter-ai's documents show (its user guide for 2.x, that of the magic commands for 3.x, and its example
notebooks), line for line, with prompts of our own. Each must run here as it stands.

The lines are facts about two public interfaces; where they were read: jupyterlab/jupyter-ai, docs/source/users/index.md,
docs/source/users/magic_commands/index.md and examples/*.ipynb; jupyter-ai-contrib/jupyter-ai-magic-commands, parsers.py.
"""

from __future__ import annotations

from typing import NamedTuple


class Cell(NamedTuple):
    """One cell, and what shows that it did what it says."""

    source: str
    asked: str = ""
    """The model that the upstream was asked; empty where none is asked."""
    sent: str = ""
    """What stands in the text that was sent."""
    shown: str = ""
    """What stands in the output."""


V2: tuple[Cell, ...] = (
    Cell("%load_ext jupyter_ai_magics"),
    Cell("%load_ext jupyter_ai"),
    Cell("%reload_ext jupyter_ai"),
    Cell("%ai help", shown="--format"),
    Cell("%%ai help", shown="--format"),
    Cell("%ai list", shown="openai"),
    Cell("%ai list openai", shown="openai"),
    Cell("%ai list --help", shown="list"),
    Cell("%ai --help", shown="--format"),
    Cell("%ai error chatgpt", shown="no cell of this kernel has failed"),
    Cell("%%ai anthropic:claude-v1.2\nWrite two lines about rivers.", "claude-v1.2", "rivers"),
    Cell('%config AiMagics.default_language_model = "anthropic:claude-v1.2"'),
    Cell("%%ai\nName a bridge.", "claude-v1.2", "bridge"),
    Cell("%config AiMagics.default_language_model = None"),
    Cell("%%ai ai21:j2-jumbo-instruct\nWrite a loop in JavaScript.", "j2-jumbo-instruct", "loop"),
    Cell("%%ai j2-jumbo-instruct # infers AI21 provider\nWrite a loop in Lua.", "j2-jumbo-instruct", "Lua"),
    Cell("%%ai j2-jumbo-instruct --format math\nThe area of a ring.", "j2-jumbo-instruct", "ring", "$$"),
    Cell("%%ai claude-v1.2\nWhich equation describes diffusion? Use `$` around it.", "claude-v1.2", "`$`"),
    Cell("%%ai huggingface_hub:google/flan-t5-xl\nThe capital of Wales?", "google/flan-t5-xl", "Wales"),
    Cell("%%ai huggingface_hub:gpt2\nThe square root of nine?", "gpt2", "nine"),
    Cell("%%ai anthropic:claude-v1.2 -f html\nDraw a circle as SVG.", "claude-v1.2", "circle", "iframe"),
    Cell("%%ai chatgpt -f math\nThe wave equation between `$$`.", "gpt-4o", "`$$`", "$$"),
    Cell("%%ai chatgpt -f code\nA function that gives the greatest common divisor.", "gpt-4o", "divisor"),
    Cell("%%ai openai-chat:gpt-4 -f text\nOne word for cold.", "gpt-4", "cold"),
    Cell("%%ai gpt4 --format markdown\nA list of two colours.", "gpt-4o", "colours"),
    Cell("%%ai gpt3 -f md\nOne more colour.", "gpt-4o", "colour"),
    Cell('%%ai openai-chat:json-mode -f json\n{"city": "Leeds"}', "echo@json", "Leeds", "Leeds"),
    Cell('%%ai openai-chat:gpt-4 -m {"temperature":0.1}\nA fruit.', "gpt-4", "fruit"),
    Cell('%%ai openai-chat:gpt-4 -m {"temperature": 0.2, "top_p": 0.9}\nAnother fruit.', "gpt-4", "Another"),
    Cell("%%ai openai-chat:gpt-4 --model-parameters '{\"temperature\": 0.3}'\nA third fruit.", "gpt-4", "third"),
    Cell("%%ai chatgpt -r\nBegin again.", "gpt-4o", "Begin"),
    Cell("%%ai chatgpt --reset\nBegin once more.", "gpt-4o", "once more"),
    Cell('poet = "Ada Lovelace"'),
    Cell("%%ai chatgpt\nFour lines in the manner of {poet}", "gpt-4o", "manner of Ada Lovelace"),
    Cell("for i in range(2):\n  print(i)"),
    Cell("%%ai cohere:command-xlarge-nightly\nWhat does this do?\n--\n{In[-2]}", "command-xlarge-nightly", "range(2)"),
    Cell("6 * 7"),
    Cell("%%ai cohere:command-xlarge-nightly\nWhat gives this?\n--\n{_}", "command-xlarge-nightly", "--\n42"),
    Cell("%config AiMagics.max_history = 4"),
    Cell("%%ai chatgpt\nRemember the number nine.", "gpt-4o", "nine"),
    Cell("%%ai chatgpt\nWhich number was it?", "gpt-4o", "Remember the number nine"),
    Cell("%ai reset"),
    Cell("%config AiMagics.max_history = 0"),
    Cell("%ai register claude anthropic:claude-v1.2", shown="claude"),
    Cell("%%ai claude\nA line about hills.", "claude-v1.2", "hills"),
    Cell("%ai update claude anthropic:claude-instant-v1.0", shown="claude-instant-v1.0"),
    Cell("%%ai claude\nA line about lakes.", "claude-instant-v1.0", "lakes"),
    Cell("%ai delete claude", shown="claude"),
    Cell('%config AiMagics.aliases = {"my_custom_alias": "openai:my_model"}'),
    Cell("%%ai my_custom_alias\nA line about seas.", "my_model", "seas"),
    Cell(
        '%%ai sagemaker-endpoint:jumpstart-flan --region-name=us-east-1 --request-schema={"text_inputs":"<prompt>"} '
        "--response-path=generated_texts.[0] -f code\nPrint a greeting.",
        "jumpstart-flan",
        "greeting",
    ),
    Cell(
        '%%ai sagemaker-endpoint:jumpstart-flan -n us-east-1 -q {"text_inputs": "<prompt>"} -p generated_texts.[0]\nPrint a farewell.',
        "jumpstart-flan",
        "farewell",
    ),
)
V3: tuple[Cell, ...] = (
    Cell("%load_ext jupyter_ai_magic_commands"),
    Cell("%reload_ext jupyter_ai_magic_commands"),
    Cell("%ai version", shown="aiplat-lab"),
    Cell("%ai fix bedrock/anthropic.claude-3-5-haiku-20241022-v1:0", shown="no cell of this kernel has failed"),
    Cell("%ai list all", shown="anthropic"),
    Cell("%ai list anthropic", shown="anthropic"),
    Cell(
        "%%ai bedrock/anthropic.claude-3-5-haiku-20241022-v1:0\nThe capital of Norway?",
        "anthropic.claude-3-5-haiku-20241022-v1:0",
        "Norway",
    ),
    Cell('%config AiMagics.initial_language_model = "anthropic:claude-v1.2"'),
    Cell("%%ai\nA line about snow.", "claude-v1.2", "snow"),
    Cell("%config AiMagics.initial_language_model = None"),
    Cell("%%ai openai/gpt-4o -f code\nPrint the days of the week.", "gpt-4o", "days"),
    Cell("%%ai openai/gpt-4o --api-base {base}\nA line about wind.", "gpt-4o", "wind"),
    Cell("%%ai openai/gpt-4o --api-base {base} --api-key-name OPENAI_API_KEY\nA line about rain.", "gpt-4o", "rain"),
    Cell("%%ai openai/gpt-4o --eval\nprint('sum', 20 + 3)", "gpt-4o", "sum 23"),
    Cell("%%ai openai/gpt-4o --eval\n40 + 2", "gpt-4o", "42"),
    Cell("%%ai openai/gpt-4o --no-interpolate\nKeep {poet} as it is.", "gpt-4o", "{poet}"),
    Cell("%%ai openai/gpt-4o --interpolate\nFor {poet}.", "gpt-4o", "Ada Lovelace"),
    Cell("%ai alias claude anthropic:claude-v1.2", shown="claude"),
    Cell("%%ai claude\nA line about ice.", "claude-v1.2", "ice"),
    Cell("%ai update claude anthropic:claude-instant-v1.0", shown="claude-instant-v1.0"),
    Cell("%ai alias mine openai/gpt-4o --api-base {base} --api-key-name OPENAI_API_KEY", shown="mine"),
    Cell("%%ai mine\nA line about fog.", "gpt-4o", "fog"),
    Cell("%ai dealias claude", shown="claude"),
    Cell('%config AiMagics.initial_aliases = {"own": {"target": "openai/gpt-4o", "api_base": None, "api_key_name": None}}'),
    Cell("%%ai own\nA line about hail.", "gpt-4o", "hail"),
    Cell("%ai reset"),
)
ERRORS: tuple[Cell, ...] = (
    Cell("%%ai chatgpt\nWhat does this error mean?\n--\n{Err[3]}", "gpt-4o", "ZeroDivisionError"),
    Cell(
        "%%ai chatgpt --format code\nThis code:\n--\n{In[3]}\n--\nraises:\n--\n{Err[3]}\n--\nMend it.",
        "gpt-4o",
        "2/0",
    ),
    Cell("%ai error chatgpt", "gpt-4o", "ZeroDivisionError"),
    Cell("%ai error anthropic:claude-v1.2 -f code", "claude-v1.2", "ZeroDivisionError"),
    Cell("%ai fix anthropic:claude-v1.2", "claude-v1.2", "2/0"),
)
"""After a cell `2/0` that was the third."""
