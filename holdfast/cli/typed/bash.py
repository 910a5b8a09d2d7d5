"""The script for bash: without bash-completion, from version 4 on. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.cli.typed.forms import CommandForm, Offer, ValueForm

_FRAME = r"""# Completion of holdfast in bash, made by `holdfast completion bash`.

# Sets `below`: the commands that may follow.
_holdfast_below() {
    case $1 in
@BELOW@
    *) below='' ;;
    esac
}

# Sets `options`: those of a command.
_holdfast_options() {
    case $1 in
@OPTIONS@
    *) options='' ;;
    esac
}

# Sets `offer`: what may follow an option of a command; status 1 for a switch.
_holdfast_value() {
    case "$1 $2" in
@VALUES@
    *) return 1 ;;
    esac
}

# Sets `offer`: what a command's argument of that number may be.
_holdfast_argument() {
    case "$1 $2" in
@ARGUMENTS@
    *) offer='' ;;
    esac
}

_holdfast_offer() {
    local current=$1 each
    case $offer in
    volumes)
        while IFS= read -r each; do
            [[ $each == "$current"* ]] && COMPREPLY+=("$each")
        done < <(command holdfast completion names 2>/dev/null </dev/null)
        ;;
    files)
        compopt -o filenames 2>/dev/null
        while IFS= read -r each; do
            COMPREPLY+=("$each")
        done < <(compgen -f -- "$current")
        ;;
    *)
        for each in $offer; do
            [[ $each == "$current"* ]] && COMPREPLY+=("$each")
        done
        ;;
    esac
}

_holdfast() {
    local current=${COMP_WORDS[COMP_CWORD]} command='' option='' word
    local below options offer='' number=0 index
    COMPREPLY=()
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        if [[ $word == : ]]; then # file:/path is three words for bash
            ((index++))
        elif [[ $word == '=' ]]; then
            continue
        elif [[ -n $option ]]; then
            option=''
        elif [[ $word == -* ]]; then
            _holdfast_value "$command" "$word" && option=$word
        else
            _holdfast_below "$command"
            if [[ " $below " == *" $word "* ]]; then
                command=${command:+$command }$word
            else
                ((++number))
            fi
        fi
    done
    if [[ $current == [:=] ]]; then
        [[ $current == : ]] && offer=files
        current=''
    elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == : ]]; then
        offer=files
    fi
    if [[ -n $offer ]]; then
        :
    elif [[ -n $option ]]; then
        _holdfast_value "$command" "$option"
    elif [[ $current == -* ]]; then
        _holdfast_options "$command"
        offer=$options
    else
        _holdfast_below "$command"
        offer=$below
        [[ -n $offer ]] || _holdfast_argument "$command" "$number"
    fi
    _holdfast_offer "$current"
}

complete -F _holdfast holdfast
"""


def bash_script(root: CommandForm) -> str:
    """What bash is to read."""
    forms = list(root.everything())
    below = [
        _case(" ".join(form.words), f"below='{' '.join(each.name for each in form.below)}'")
        for form in forms
        if form.below
    ]
    options = [
        _case(
            " ".join(form.words),
            f"options='{' '.join(one for each in form.options for one in each.spellings)}'",
        )
        for form in forms
    ]
    return (
        _FRAME.replace("@BELOW@", "\n".join(below))
        .replace("@OPTIONS@", "\n".join(options))
        .replace("@VALUES@", "\n".join(_values(forms)))
        .replace("@ARGUMENTS@", "\n".join(_arguments(forms)))
    )


def _values(forms: list[CommandForm]) -> Iterator[str]:
    for form in forms:
        for option in form.options:
            if option.value is not None:
                for spelling in option.spellings:
                    words = " ".join((*form.words, spelling))
                    yield _case(words if form.words else f" {words}", _offered(option.value))


def _arguments(forms: list[CommandForm]) -> Iterator[str]:
    for form in forms:
        for number, argument in enumerate(form.arguments):
            if argument.value.offer is not Offer.NOTHING:
                yield _case(f"{' '.join(form.words)} {number}", _offered(argument.value))


def _offered(value: ValueForm) -> str:
    if value.offer is Offer.WORDS:
        return f"offer='{' '.join(value.words)}'"
    return f"offer='{'' if value.offer is Offer.NOTHING else value.offer.value}'"


def _case(pattern: str, action: str) -> str:
    return f"    '{pattern}') {action} ;;"
