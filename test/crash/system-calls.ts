/**
 * System calls of a traced broker: strace's command line and what it wrote down. strace counts `when=` for each thread and each call by itself, so
 * a call is named by both: the third pwrite64 of the thread that makes most of them. Neighbours: broker-process.ts starts what is traced,
 * crash-points.ts makes points of what was seen.
 */
import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/** All that can change what a file system holds; those that this processor does not have are left out by the question mark. */
const fileChanging = (
  'open openat openat2 creat mkdir mkdirat rmdir unlink unlinkat link linkat symlink symlinkat rename renameat renameat2 ' +
  'truncate ftruncate fallocate write writev pwrite64 pwritev pwritev2 copy_file_range sendfile splice ' +
  'fsync fdatasync sync syncfs sync_file_range msync io_uring_setup'
).split(' ')
/**
 * `before`, `after`: the call is held for a while, before it does anything or once it has done it, so that its process can be killed just there, with all
 * it could say meanwhile said. (strace can send the signal itself, but then nobody hears of what was promised too early.)
 */
export type Action = 'before' | 'after' | 'error=EIO'

/** strace sees the end of what it holds only after this time, and so does everybody else. */
const heldMicroseconds = 700_000
const injected = {
  before: `delay_enter=${heldMicroseconds}`,
  after: `delay_exit=${heldMicroseconds}`,
  'error=EIO': 'error=EIO',
} as const satisfies Record<Action, string>

export interface Injection {
  readonly call: string
  /** The first is 1; with `+` all from there on. */
  readonly when: string
  readonly action: Action
  /** Only calls on this file. */
  readonly file?: string
}

export interface SystemCall {
  readonly thread: number
  readonly call: string
  /** Among the same calls of its thread, from 1. */
  readonly ordinal: number
  /** Below the data directory; what is moved or linked is named by where it comes from. */
  readonly file: string
  /** It was answered with the error that was asked for, and did nothing. */
  isRefused: boolean
}

export function requireTool(name: string, install: string): void {
  const { error } = spawnSync(name, ['-V'], { stdio: 'ignore' })
  if (error !== undefined) throw new Error(`found no ${name} (${error.message}), wanted it to be there: ${install}`)
}

export function requireStrace(): void {
  requireTool('strace', 'apt-get install strace')
}

/** strace as a grandchild: the process it traces is the one that was started, and ends and takes signals as always. */
export function straceCommand(output: string, injection?: Injection): string[] {
  const calls = injection === undefined ? fileChanging : [injection.call]
  const command = ['strace', '-D', '-f', '--seccomp-bpf', '-y', '-s', '0', '-o', output]
  command.push('-e', `trace=${calls.map((call) => `?${call}`).join(',')}`)
  if (injection === undefined) return command
  const { call, action, when, file } = injection
  command.push('-e', `inject=${call}:${injected[action]}:when=${when}`)
  return file === undefined ? command : [...command, '-P', file]
}

/** The calls on files below `directory`, once the traced process has ended. Throws if some may have been missed. */
export async function callsOf(output: string, process: number, directory: string): Promise<SystemCall[]> {
  const lines = await linesOf(output, process)
  const counts = new Map<string, number>()
  const latest = new Map<string, SystemCall>()
  const calls: SystemCall[] = []
  for (const line of lines) {
    const isRefused = line.endsWith('(INJECTED)')
    const resumed = /^(\d+) +<\.\.\. (\w+) resumed>/.exec(line)
    const before = resumed === null ? undefined : latest.get(`${resumed[1]} ${resumed[2]}`)
    if (before !== undefined) before.isRefused = isRefused
    const match = /^(\d+) +(\w+)\((.*)$/.exec(line)
    if (match === null) continue
    const [, thread = '', call = '', rest = ''] = match
    // libuv has one ring for epoll, which is no matter, and one for files, which the kernel looks at by itself.
    if (call === 'io_uring_setup' && rest.includes('IORING_SETUP_SQPOLL'))
      throw new Error('found a ring for files, wanted every change to a file as a call of its own')
    const name = `${thread} ${call}`
    const ordinal = (counts.get(name) ?? 0) + 1
    counts.set(name, ordinal)
    const from = rest.indexOf(directory)
    const makesNoFile = /^(open|creat)/.test(call) && !/O_CREAT/.test(rest) && call !== 'creat'
    if (from < 0 || makesNoFile) continue
    const file = /^[^">,]*/.exec(rest.slice(from + directory.length + 1))?.[0] ?? ''
    const seen = { thread: Number(thread), call, ordinal, file, isRefused }
    latest.set(name, seen)
    calls.push(seen)
  }
  return calls
}

/** True once the call of the injection is held, by what strace has written down so far. */
export async function isHeld(output: string, { call, when, action }: Injection): Promise<boolean> {
  const text = await readFile(output, 'utf8').catch(() => '')
  if (action === 'after') return text.includes('(DELAYED)')
  const counts = new Map<string, number>()
  for (const [, thread = ''] of text.matchAll(new RegExp(`^(\\d+) +${call}\\(`, 'gm'))) {
    const count = (counts.get(thread) ?? 0) + 1
    if (count >= Number(when)) return true
    counts.set(thread, count)
  }
  return false
}

/** What strace wrote down of a process that has ended: a little later than that, as strace is on its own. */
async function linesOf(output: string, process: number): Promise<string[]> {
  const end = new RegExp(`^${process} +\\+\\+\\+ `, 'm')
  for (let tries = 0; tries < 500; tries++) {
    const text = await readFile(output, 'utf8').catch(() => '')
    if (end.test(text)) return text.split('\n')
    await sleep(10)
  }
  throw new Error(`${output}: found no end of process ${process}, wanted strace to write it down`)
}
