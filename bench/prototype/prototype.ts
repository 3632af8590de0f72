/**
 * `node bench/prototype/prototype.ts [fresh|recycled]`: the bare prototype of the append path, client and broker in two processes, 100 B and 1 KiB
 * records: what this machine can do with nothing of the product in the way. To be run in turn with `playhead bench produce`.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

interface Work {
  readonly records: number
  readonly recordBytes: number
  readonly batchBytes: number
}

const inFlight = 16
const works: readonly Work[] = [
  { records: 10_000_000, recordBytes: 100, batchBytes: 64 * 1024 },
  { records: 1_000_000, recordBytes: 1024, batchBytes: 256 * 1024 },
]
const memory = process.argv[2] ?? 'recycled'

function start(script: string, values: readonly (string | number)[]): ChildProcess {
  const path = join(import.meta.dirname, script)
  return spawn(process.execPath, [path, ...values.map(String)], { stdio: ['ignore', 'pipe', 'inherit'] })
}

/** The lines that the process prints, as they come. */
function linesOf(child: ChildProcess): AsyncIterator<string> {
  return createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
}

const directory = mkdtempSync(join(tmpdir(), 'playhead-prototype-'))
try {
  for (const { records, recordBytes, batchBytes } of works) {
    const broker = start('broker.ts', [join(directory, 'log'), memory])
    const brokerLines = linesOf(broker)
    const port = (await brokerLines.next()).value as string
    const client = start('client.ts', [port, records, recordBytes, batchBytes, inFlight])
    const figures = (await linesOf(client).next()).value as string | undefined
    if (figures === undefined) throw new Error('the client of the prototype ended without figures')
    const server = (await brokerLines.next()).value as string
    if (broker.exitCode === null) await once(broker, 'exit')
    console.log(JSON.stringify({ memory, recordBytes, ...JSON.parse(figures), server: JSON.parse(server) }))
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}
