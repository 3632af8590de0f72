/**
 * Tools of others as child processes: run one to its end, fetch what is missing into the cache folder. Invariant: a tool that fails or takes
 * too long is an error that names the command; nothing is fetched twice. Used by every peer.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { PlayheadError } from '../../protocol/errors.ts'

const toolMsMax = 180_000
const fetchMsMax = 1_200_000
const outputCharactersMax = 4_000_000
const outputCharactersShown = 1_500

export interface ToolOptions {
  readonly directory?: string
  readonly environment?: Readonly<Record<string, string>>
  readonly timeoutMs?: number
  /** What it prints goes nowhere: for tools that print what they read. */
  readonly discardOutput?: true
}

const running = new Set<ChildProcess>()

/** What an interrupted run does. */
export function killRunningTools(): void {
  for (const child of running) child.kill('SIGKILL')
}

/** Answers what it printed. Throws `unavailable` with the end of its output when its exit code is not 0. */
export async function runTool(command: readonly string[], options: ToolOptions = {}): Promise<string> {
  const [file = '', ...args] = command
  const child = spawn(file, args, {
    stdio: ['ignore', options.discardOutput === true ? 'ignore' : 'pipe', 'pipe'],
    env: childEnvironment(options.environment),
    ...(options.directory !== undefined && { cwd: options.directory }),
    timeout: options.timeoutMs ?? toolMsMax,
    killSignal: 'SIGKILL',
  })
  running.add(child)
  let output = ''
  let said = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    if (output.length < outputCharactersMax) output += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-outputCharactersShown)
  })
  const ended = await new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, signal) => resolve(code === 0 ? '' : `exit code ${code ?? signal}`))
  })
  running.delete(child)
  if (ended === '') return output
  const last = `${output.slice(-outputCharactersShown)}\n${said}`.trim()
  throw new PlayheadError(
    'unavailable',
    `${command.join(' ').slice(0, 300)}: found ${ended}, wanted 0; it said: ${last}`,
  )
}

/** Ours without PLAYHEAD_…: the settings of whoever runs the comparison are not measured, and a broker refuses names it does not know. */
export function childEnvironment(added: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('PLAYHEAD_'))
  return { ...Object.fromEntries(inherited), ...added }
}

/** Where what is fetched is kept between runs. */
export function cacheFolder(): string {
  return (
    process.env['PLAYHEAD_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'playhead-bench')
  )
}

/** Runs the commands once; a file in `folder` remembers that they have succeeded. */
export async function fetchOnce(
  folder: string,
  commands: readonly (readonly string[])[],
  environment: Readonly<Record<string, string>> = {},
): Promise<void> {
  const done = join(folder, 'fetched')
  if (existsSync(done)) return
  await mkdir(folder, { recursive: true })
  for (const command of commands) await fetchWith(command, environment)
  await writeFile(done, '')
}

/** One command of a fetch. What fails says which command to run by hand. */
export async function fetchWith(
  command: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<void> {
  const byHand = [...Object.entries(environment).map(([name, value]) => `${name}=${value}`), ...command].join(' ')
  console.log(`running: ${byHand}`)
  try {
    await runTool(command, { environment, timeoutMs: fetchMsMax })
  } catch (error) {
    throw new PlayheadError('unavailable', `${(error as Error).message}\nrun: ${byHand}`)
  }
}

/** Programs that come as Debian packages: installed when something is missing and we are root, else the command is named. */
export async function needPrograms(programs: readonly string[], packages: readonly string[]): Promise<void> {
  const missing = programs.filter((program) => findProgram(program) === undefined)
  if (missing.length === 0) return
  const command = ['apt-get', 'install', '-y', '--no-install-recommends', ...packages]
  const isRoot = process.getuid?.() === 0
  if (!isRoot || findProgram('apt-get') === undefined)
    throw new PlayheadError(
      'unavailable',
      `${missing.join(', ')}: found nothing of that name on PATH, wanted it installed; run: sudo ${command.join(' ')}`,
    )
  // Others may be installing, too. Without a runlevel for services Debian's scripts do not start the servers they install.
  await fetchWith([...command, '-o', 'DPkg::Lock::Timeout=300'], { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' })
}

/** Its path; undefined = it is not in PATH. */
export function findProgram(name: string): string | undefined {
  if (name.startsWith('/')) return existsSync(name) ? name : undefined
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((path) => isExecutable(path))
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
