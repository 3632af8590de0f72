/** Machine: what a figure was measured on, so that it can be read later. Called by comparison.ts. */
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem, type } from 'node:os'
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
