"""Print a script that completes commands and options in your shell.

Bash: put `eval "$(circuit-sweep completion bash)"` into ~/.bashrc. Zsh: the same with `zsh` into ~/.zshrc.
Fish: `circuit-sweep completion fish > ~/.config/fish/completions/circuit-sweep.fish`, again after updates.
"""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from shlex import quote
from typing import Annotated, Literal

import tyro

from jobs._command_line import parse
from jobs.cli import commands, module_of, run_command

BASH = """\
_circuit_sweep() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" words=""
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W {commands} -- "$word"))
        return
    fi
    # Anything but an option is a file or a folder, which the shell completes by itself.
    case "$word" in -*) ;; *) return ;; esac
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o bashdefault -o default -F _circuit_sweep circuit-sweep
"""

ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"
"""Line that lets zsh read the script for bash."""

OPTION = re.compile(r"^[^\w-]*(-.*)$", re.MULTILINE)
"""A line of a help page that lists an option, with its other spellings."""


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    shell: Annotated[Literal["bash", "zsh", "fish"], tyro.conf.Positional]
    """Shell to print the script for."""


def main(argv: list[str] | None = None) -> int:
    """Print a completion script and return 0."""
    arguments = parse(Arguments, argv, "completion", __doc__)
    options = {name: options_of(name) for name in commands() if name != "completion"}
    script = _fish(options) if arguments.shell == "fish" else _bash(options)
    print((ZSH if arguments.shell == "zsh" else "") + script, end="")
    return 0


def options_of(command: str) -> list[str]:
    """Return the options that a command's help page lists."""
    page = io.StringIO()
    with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit):
        module_of(command).main(["--help"])
    lines = OPTION.findall(page.getvalue())
    return sorted({option for line in lines for option in re.findall(r"(?<!\S)--[a-z][\w.-]*", line)})


def _bash(options: dict[str, list[str]]) -> str:
    cases = (f'        {name}) words="{" ".join(words)}" ;;' for name, words in options.items())
    return BASH.format(commands=quote(" ".join(commands())), cases="\n".join(cases))


def _fish(options: dict[str, list[str]]) -> str:
    lines = [
        f"complete -c circuit-sweep -f -n __fish_use_subcommand -a {name} -d {quote(description)}"
        for name, description in commands().items()
    ]
    for name, words in options.items():
        condition = quote(f"__fish_seen_subcommand_from {name}")
        lines += [f"complete -c circuit-sweep -n {condition} -l {word[2:]}" for word in words]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(run_command(main))
