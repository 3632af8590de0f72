/**
 * SlowDisk: makes each write and sync of a process take longer, from now on or no longer, by a library that it is started with (slow-disk.c, made with
 * gcc). Neighbour: machine.ts has one.
 */
import { closeSync, openSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { makePreloadLibrary } from '../crash/preload-library.ts'

/** In the directory; its path. */
export function makeSlowLibrary(directory: string): Promise<string> {
  return makePreloadLibrary(join(import.meta.dirname, 'slow-disk.c'), directory)
}

export class SlowDisk {
  /** For the process. */
  readonly environment: Readonly<Record<string, string>>
  readonly #control: string

  constructor(library: string, control: string) {
    this.#control = control
    writeFileSync(control, Buffer.alloc(16))
    this.environment = { LD_PRELOAD: library, SLOW_CONTROL: control }
  }

  /** Of each call; 0 = as fast as it is. */
  set delayMs(delayMs: number) {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(BigInt(delayMs))
    const file = openSync(this.#control, 'r+')
    writeSync(file, bytes, 0, 8, 0)
    closeSync(file)
  }

  /** How many calls it has made wait. */
  get waited(): number {
    const bytes = Buffer.alloc(8)
    const file = openSync(this.#control, 'r')
    readSync(file, bytes, 0, 8, 8)
    closeSync(file)
    return Number(bytes.readBigUInt64LE())
  }
}
