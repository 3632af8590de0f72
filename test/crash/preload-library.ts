/** A library of C that a process is started with (LD_PRELOAD), made with gcc. Used by ShortIo and SlowDisk. */
import { execFile } from 'node:child_process'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { requireTool } from './system-calls.ts'

const run = promisify(execFile)

/** In the directory; its path. */
export async function makePreloadLibrary(source: string, directory: string): Promise<string> {
  requireTool('gcc', 'apt-get install gcc libc6-dev')
  const library = join(directory, `${basename(source, '.c')}.so`)
  await run('gcc', ['-shared', '-fPIC', '-O2', '-Wall', '-Werror', '-o', library, source, '-ldl'])
  return library
}
