/**
 * playhead completion: scripts for bash, zsh and fish, made from the command tree, so that they cannot fall behind it. All three ask the
 * same question: given the commands typed so far, which commands and flags may follow?
 */
import type { Command } from 'commander'
import { UsageError } from './failure-report.ts'
import type { Session } from './session.ts'

interface Candidate {
  readonly word: string
  readonly text: string
}

/** What may follow the commands of `path`, e.g. `topic create`. */
interface Place {
  readonly path: string
  readonly commands: readonly Candidate[]
  readonly flags: readonly Candidate[]
}

const shells: Readonly<Record<string, (places: readonly Place[]) => string>> = { bash, zsh, fish }

export async function completion(session: Session, program: Command, shell: string): Promise<void> {
  await session.printText(completionScript(program, shell))
}

/** Throws UsageError for a shell that is not known. */
export function completionScript(program: Command, shell: string): string {
  const write = Object.hasOwn(shells, shell) ? shells[shell] : undefined
  if (write === undefined) throw new UsageError(`completion: found ${JSON.stringify(shell)}, wanted bash, zsh or fish`)
  const anywhere = flagsOf(program).filter(({ word }) => word !== '--help' && word !== '--version')
  return write(placesOf(program, '', anywhere))
}

function placesOf(command: Command, path: string, globalFlags: readonly Candidate[]): Place[] {
  const place: Place = {
    path,
    commands: command.commands.map((child) => ({ word: child.name(), text: child.description() })),
    flags: [...flagsOf(command), ...(path === '' ? [] : globalFlags)],
  }
  const below = command.commands.flatMap((child) => placesOf(child, `${path} ${child.name()}`.trim(), globalFlags))
  return [place, ...below]
}

function flagsOf(command: Command): Candidate[] {
  return [
    ...command.options.map(({ long, description }) => ({ word: long ?? '', text: description })),
    { word: '--help', text: 'show help' },
  ].filter(({ word }, index, all) => word !== '' && all.findIndex((other) => other.word === word) === index)
}

function bash(places: readonly Place[]): string {
  return `# playhead completion for bash; load it with: source <(playhead completion bash)
_playhead() {
  local current=\${COMP_WORDS[COMP_CWORD]} place='' words='' word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$place $word" in
${pathCases(places, '      ')}
    esac
  done
  case "$place" in
${places.map(({ path, commands, flags }) => `    '${path}') words='${[...commands, ...flags].map(({ word }) => word).join(' ')}' ;;`).join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _playhead playhead`
}

function zsh(places: readonly Place[]): string {
  return `#compdef playhead
# playhead completion for zsh; load it with: source <(playhead completion zsh)
_playhead() {
  local place='' word
  local -a candidates
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$place $word" in
${pathCases(places, '      ')}
    esac
  done
  case "$place" in
${places
  .map(({ path, commands, flags }) => {
    const items = [...commands, ...flags].map(({ word, text }) => shellQuoted(`${word}:${text.replaceAll(':', '\\:')}`))
    return `    '${path}') candidates=(${items.join(' ')}) ;;`
  })
  .join('\n')}
  esac
  _describe 'playhead' candidates
  _files
}
# Loaded as a function from fpath it is being called already; sourced, it has to be registered.
if [ "\${funcstack[1]}" = _playhead ]; then _playhead "$@"; else compdef _playhead playhead; fi`
}

function fish(places: readonly Place[]): string {
  const lines = places.flatMap(({ path, commands, flags }) => {
    const condition = shellQuoted(`test (__playhead_place) = ${JSON.stringify(path)}`)
    return [
      ...commands.map(({ word, text }) => `complete -c playhead -n ${condition} -f -a ${word} -d ${shellQuoted(text)}`),
      ...flags.map(
        ({ word, text }) => `complete -c playhead -n ${condition} -l ${word.slice(2)} -d ${shellQuoted(text)}`,
      ),
    ]
  })
  return `# playhead completion for fish; load it with: playhead completion fish | source
function __playhead_place
  set -l place ''
  for word in (commandline -opc)[2..-1]
    switch "$place $word"
${places
  .filter(({ path }) => path !== '')
  .map(({ path }) => `      case '${pathPattern(path)}'\n        set place '${path}'`)
  .join('\n')}
    end
  end
  echo "$place"
end
${lines.join('\n')}`
}

/** Shell cases that walk down the tree word by word: any other word (an argument, a flag) leaves the path as it is. */
function pathCases(places: readonly Place[], indent: string): string {
  return places
    .filter(({ path }) => path !== '')
    .map(({ path }) => `${indent}'${pathPattern(path)}') place='${path}' ;;`)
    .join('\n')
}

/** The path before the last word, a space, the last word. */
function pathPattern(path: string): string {
  const at = path.lastIndexOf(' ')
  return at < 0 ? ` ${path}` : path
}

function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`
}
