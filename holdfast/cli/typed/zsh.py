"""The script for zsh: as a file `_holdfast` in its search path, or sourced. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.cli.typed.forms import CommandForm, Offer, OptionForm, ValueForm

_HEAD = r"""#compdef holdfast
# Completion of holdfast in zsh, made by `holdfast completion zsh`.

_holdfast_volumes() {
    local -a names
    names=(${(f)"$(command holdfast completion names 2>/dev/null </dev/null)"})
    compadd -a names
}

# A container: file:/path, block:/dev/name, or a directory.
_holdfast_place() {
    compset -P '(file|block):'
    _files
}
"""

_TAIL = r"""
if [[ $funcstack[1] == _holdfast ]]; then
    _holdfast "$@"
else
    compdef _holdfast holdfast
fi
"""


def zsh_script(root: CommandForm) -> str:
    """What zsh is to read."""
    return _HEAD + "".join(_function(form) for form in root.everything()) + _TAIL


def _function(form: CommandForm) -> str:
    specifications = [_option(option) for option in form.options]
    if not form.below:
        specifications += _arguments(form)
        listed = " \\\n        ".join(specifications)
        return f"\n{_function_name(form)}() {{\n    _arguments \\\n        {listed}\n}}\n"
    specifications += ["'1: :->command'", "'*:: :->rest'"]
    listed = " \\\n        ".join(specifications)
    described = "\n".join(
        f"            {_quoted(each.name + ':' + _escaped(each.summary, ':'))}"
        for each in form.below
    )
    cases = "\n".join(f"        {each.name}) {_function_name(each)} ;;" for each in form.below)
    return f"""
{_function_name(form)}() {{
    local curcontext=$curcontext state line
    local -A opt_args
    _arguments -C \\
        {listed}
    case $state in
    command)
        local -a commands
        commands=(
{described}
        )
        _describe command commands
        ;;
    rest)
        case $line[1] in
{cases}
        esac
        ;;
    esac
}}
"""


def _function_name(form: CommandForm) -> str:
    return "_".join(("_holdfast", *form.words))


def _arguments(form: CommandForm) -> Iterator[str]:
    for argument in form.arguments:
        optional = "" if argument.required else ":"
        yield _quoted(f":{optional}{_value(argument.value)}")


def _option(option: OptionForm) -> str:
    help_text = f"[{_escaped(option.help, '[]')}]"
    value = "" if option.value is None else f":{_value(option.value)}"
    star = "*" if option.repeatable else ""
    written = [
        f"{each}{'=' if option.value and each.startswith('--') else ''}"
        for each in option.spellings
    ]
    if len(written) == 1:
        return _quoted(f"{star}{written[0]}{help_text}{value}")
    others = "" if option.repeatable else f"({' '.join(option.spellings)})"
    return f"'{others}{star}'{{{','.join(written)}}}{_quoted(help_text + value)}"


def _value(value: ValueForm) -> str:
    action = {
        Offer.VOLUMES: "_holdfast_volumes",
        Offer.FILES: "_holdfast_place",
        Offer.WORDS: f"({' '.join(value.words)})",
        Offer.NOTHING: " ",
    }[value.offer]
    return f"{_escaped(value.metavar, ':')}:{action}"


def _escaped(text: str, characters: str) -> str:
    text = text.replace("\\", "\\\\")
    for each in characters:
        text = text.replace(each, "\\" + each)
    return text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
