/**
 * A real Prometheus for tests: from PATH, from the cache of earlier runs, or out of Debian's package, unpacked into the cache without being installed. Where none
 * of that can be had the test fails and names the command to run.
 */
import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const cache = join(homedir(), '.cache', 'playhead-services', 'prometheus')
/** Patience, not an assertion. */
const startMsMax = 60_000

export async function prometheusTool(tool: 'prometheus' | 'promtool'): Promise<string> {
  for (const directory of [...(process.env['PATH'] ?? '').split(delimiter), join(cache, 'usr', 'bin')]) {
    if (existsSync(join(directory, tool))) return join(directory, tool)
  }
  try {
    await unpack()
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new Error(`${tool}: found none (${why}), wanted a real one; run: apt-get install prometheus`, {
      cause: error,
    })
  }
  return join(cache, 'usr', 'bin', tool)
}

async function unpack(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'playhead-prometheus-'))
  try {
    await run('apt-get', ['download', 'prometheus'], { cwd: directory })
    const [file] = (await readdir(directory)).filter((name) => name.endsWith('.deb'))
    await mkdir(cache, { recursive: true })
    await run('dpkg', ['-x', join(directory, file ?? ''), cache])
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

export interface RunningPrometheus extends AsyncDisposable {
  query(text: string): Promise<{ metric: Record<string, string>; value: [number, string] }[]>
  targets(): Promise<{ health: string; lastError: string }[]>
}

/** `config`: the text of prometheus.yml. */
export async function runPrometheus(directory: string, config: string): Promise<RunningPrometheus> {
  const command = await prometheusTool('prometheus')
  const file = join(directory, 'prometheus.yml')
  await writeFile(file, config)
  const port = await freePort()
  const flags = [`--config.file=${file}`, `--storage.tsdb.path=${join(directory, 'tsdb')}`]
  const child = spawn(command, [...flags, `--web.listen-address=127.0.0.1:${port}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text))
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const api = async (path: string): Promise<unknown> => {
    const reply = (await (await fetch(`http://127.0.0.1:${port}/api/v1/${path}`)).json()) as { data: unknown }
    return reply.data
  }
  const untilMs = performance.now() + startMsMax
  while (
    !(await fetch(`http://127.0.0.1:${port}/-/ready`).then(
      (reply) => reply.ok,
      () => false,
    ))
  ) {
    if (child.exitCode !== null || performance.now() > untilMs) throw new Error(`prometheus did not start: ${log}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return {
    async query(text) {
      const data = await api(`query?query=${encodeURIComponent(text)}`)
      return (data as { result: { metric: Record<string, string>; value: [number, string] }[] }).result
    },
    async targets() {
      return ((await api('targets')) as { activeTargets: { health: string; lastError: string }[] }).activeTargets
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await ended
    },
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
