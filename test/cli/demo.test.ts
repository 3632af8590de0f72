/** `playhead demo`, really run: on a broker of its own, and interrupted. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { TemporaryDirectory } from '../temporary-directory.ts'

const command = join(import.meta.dirname, '..', '..', 'bin', 'playhead')

interface Ended {
  readonly stdout: string
  readonly stderr: string
  readonly code: number | null
}

/** Runs the demo with a temporary directory of its own; `onOutput` may signal it. */
async function runDemo(
  temporary: string,
  onOutput: (stdout: string, interrupt: () => void) => void = () => {},
): Promise<Ended> {
  const child = spawn(command, ['demo'], {
    env: { ...process.env, TMPDIR: temporary, PLAYHEAD_SERVER: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    onOutput(stdout, () => child.kill('SIGINT'))
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { stdout, stderr, code }
}

async function assertBrokerGone(stdout: string): Promise<void> {
  const port = /serves 127\.0\.0\.1:(\d+)/.exec(stdout)?.[1]
  assert.ok(port, stdout)
  await assert.rejects(fetchTcp(Number(port)), { code: 'ECONNREFUSED' })
}

async function fetchTcp(port: number): Promise<void> {
  const { connect } = await import('node:net')
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
  } finally {
    socket.destroy()
  }
}

test('demo: shows what is true of the history, in a pipe, on a broker of its own, and leaves nothing behind', async () => {
  await using directory = await TemporaryDirectory.make()
  const { stdout, stderr, code } = await runDemo(directory.path)
  assert.equal(code, 0, stderr)
  assert.equal(stderr, '', 'no progress bar where there is no terminal')
  for (const fact of [
    /541,909 events in /,
    /4,372 customers, a stream each; 135,080 rows without one/,
    /customer 14911, 5,903 events/,
    /2011-06-01T00:00:00Z +1,639 +17,474 /,
    /till [12]: checked out, as version 1/,
    /till [12]: refused, wrong-expected-version: .*expected 0, found 1/,
    /version 1: 541,909 events replayed, [\d,]+ a second/,
    /United Kingdom +£8,187,806\.36/,
    /Netherlands +£284,661\.54/,
    /EIRE +£263,276\.82/,
    /everywhere \(38\) +£9,747,747\.93/,
    /version 2: 541,909 events replayed/,
    /United Kingdom +£9,003,097\.96 +-£815,291\.60 +£8,187,806\.36/,
    /asked [1-9]\d* times meanwhile, version 1 answered/,
    /many at once: [\d,]+ records a second/,
  ]) {
    assert.match(stdout, fact)
  }
  assert.deepEqual(readdirSync(directory.path), [])
  await assertBrokerGone(stdout)
  const [, broker, demo] = /memory now: broker (\d+) MB, this demo (\d+) MB/.exec(stdout) ?? []
  console.log(`memory: broker ${broker} MB, demo ${demo} MB`)
})

test('demo: Ctrl-C while it records ends it with an exit code, and leaves no broker and no files', async () => {
  await using directory = await TemporaryDirectory.make()
  const { stdout, code } = await runDemo(directory.path, (text, interrupt) => {
    if (text.includes('1. Record')) interrupt()
  })
  assert.notEqual(code, 0)
  assert.doesNotMatch(stdout, /2\. Rewind/)
  assert.deepEqual(readdirSync(directory.path), [])
  await assertBrokerGone(stdout)
})
