/** Machine: what a figure was measured on, so that it can be read later. Called by comparison.ts. */
import { readFileSync } from 'node:fs'
import { cpus, freemem, release, totalmem, type } from 'node:os'
import { runTool } from './tool.ts'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGb: number
  readonly kernel: string
  /** Of the directory the servers write to. */
  readonly fileSystem: string
  readonly node: string
}

export async function machineOf(directory: string): Promise<Machine> {
  const all = cpus()
  return {
    cpu: (all[0]?.model ?? 'unknown').replaceAll(/\s+/g, ' ').trim(),
    cores: all.length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: `${type()} ${release()}`,
    fileSystem: await fileSystemOf(directory),
    node: process.version,
  }
}

/**
 * Uses most of the free memory once. A virtual machine gets a page from its host when that is first touched, which took 2.7 s for each GB where 0.8 s is usual
 * from then on: it would be charged to whoever comes first, and to whoever reads what is not in the page cache.
 */
export async function touchMemory(): Promise<number> {
  const pieceBytes = 2 ** 28
  const pieces = Math.floor((freemem() * 0.8) / pieceBytes)
  const script = `const held = []; while (held.length < ${pieces}) held.push(Buffer.allocUnsafeSlow(${pieceBytes}).fill(1))`
  await runTool([process.execPath, '-e', script])
  return pieces * pieceBytes
}

async function fileSystemOf(directory: string): Promise<string> {
  try {
    return (await runTool(['stat', '-f', '-c', '%T', directory])).trim()
  } catch {
    return 'unknown' // no GNU stat
  }
}

/** Version of package.json and the commit it was at; a changed tree says so. */
export async function ourVersion(root: string): Promise<string> {
  const { version } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as { version: string }
  try {
    const commit = await runTool(['git', '-C', root, 'describe', '--always', '--dirty', '--abbrev=10'])
    return `Playhead ${version} at ${commit.trim()}`
  } catch {
    return `Playhead ${version}` // not a checkout, or no git
  }
}
