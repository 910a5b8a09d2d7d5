"""The script for fish. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.cli.typed.forms import CommandForm, Offer, OptionForm, ValueForm

_FRAME = r"""# Completion of holdfast in fish, made by `holdfast completion fish`.

# Prints the command that was typed so far, and the number of arguments after it.
function __holdfast_typed
    set -l command
    set -l number 0
    set -l valued 0
    for word in (commandline -opc)[2..-1]
        if test $valued = 1
            set valued 0
        else if string match -q -- '-*' $word
            if not string match -q -- '*=*' $word
                contains -- (string join ' ' -- $command $word) $__holdfast_valued
                and set valued 1
            end
        else if contains -- (string join ' ' -- $command $word) $__holdfast_commands
            set -a command $word
        else
            set number (math $number + 1)
        end
    end
    string join ' ' -- $command $number
end

function __holdfast_at
    test (__holdfast_typed) = "$argv"
end

function __holdfast_in
    string match -q -r -- "^$argv [0-9]+\$" (__holdfast_typed)
end

function __holdfast_volumes
    command holdfast completion names 2>/dev/null </dev/null
end

set -g __holdfast_commands @COMMANDS@
set -g __holdfast_valued @VALUED@

complete -c holdfast -e
complete -c holdfast -f
"""


def fish_script(root: CommandForm) -> str:
    """What fish is to read."""
    forms = list(root.everything())
    commands = " ".join(_quoted(" ".join(form.words)) for form in forms if form.words)
    valued = " ".join(
        _quoted(" ".join((*form.words, spelling)))
        for form in forms
        for option in form.options
        if option.value is not None
        for spelling in option.spellings
    )
    frame = _FRAME.replace("@COMMANDS@", commands).replace("@VALUED@", valued)
    return frame + "\n".join(line for form in forms for line in _lines(form)) + "\n"


def _lines(form: CommandForm) -> Iterator[str]:
    words = " ".join(form.words)
    for each in form.below:
        at = f"__holdfast_at {words} 0" if words else "__holdfast_at 0"
        yield f"complete -c holdfast -n '{at}' -a {each.name} -d {_quoted(each.summary)}"
    for number, argument in enumerate(form.arguments):
        offered = _offered(argument.value)
        if offered:
            yield f"complete -c holdfast -n '__holdfast_at {words} {number}' {offered}"
    for option in form.options:
        at = f"__holdfast_in {words}" if words else "__holdfast_at 0"
        yield f"complete -c holdfast -n '{at}' {_option(option)}"


def _option(option: OptionForm) -> str:
    spelled = [
        f"-l {each[2:]}" if each.startswith("--") else f"-s {each[1:]}" for each in option.spellings
    ]
    value = "" if option.value is None else f" -r {_offered(option.value) or '-f'}"
    return f"{' '.join(spelled)} -d {_quoted(option.help)}{value}"


def _offered(value: ValueForm) -> str:
    if value.offer is Offer.VOLUMES:
        return "-f -a '(__holdfast_volumes)'"
    if value.offer is Offer.WORDS:
        return f"-f -a {_quoted(' '.join(value.words))}"
    return "-F" if value.offer is Offer.FILES else ""


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
