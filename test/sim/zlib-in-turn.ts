/**
 * Decompression "off the event loop" would be done by real threads, whose answers come in no order that a seed could repeat. Here it is done
 * at once, and answered in a turn of the simulation. Imported before anything that imports node:zlib, for its effect on that module.
 */
import { syncBuiltinESMExports } from 'node:module'
import zlib from 'node:zlib'

type Answer = (error: Error | null, result?: Buffer) => void

let later: (answer: () => void) => void = queueMicrotask

/** Answers are given when `schedule` lets them, from now on. */
export function answerInTurn(schedule: (answer: () => void) => void): void {
  later = schedule
}

function inTurn(decompress: (bytes: Buffer, options: zlib.ZlibOptions) => Buffer) {
  return (bytes: Buffer, options: zlib.ZlibOptions, answer: Answer): void => {
    try {
      const result = decompress(bytes, options)
      later(() => answer(null, result))
    } catch (error) {
      later(() => answer(error as Error))
    }
  }
}

Object.assign(zlib, { gunzip: inTurn(zlib.gunzipSync), zstdDecompress: inTurn(zlib.zstdDecompressSync as never) })
syncBuiltinESMExports()
