import assert from 'node:assert/strict'
import { PassThrough, Writable } from 'node:stream'
import { test } from 'node:test'
import { OutputClosed, failureReport } from '../../cli/failure-report.ts'
import { LineWriter } from '../../cli/line-writer.ts'

test('line writer: lines come out whole and in order, and are held back only up to the limit', async () => {
  const stream = new PassThrough()
  let text = ''
  stream.setEncoding('utf8').on('data', (piece: string) => (text += piece))
  const writer = new LineWriter(stream)
  const lines = Array.from({ length: 5_000 }, (_, index) => `line ${index} ${'x'.repeat(50)}`)
  let waits = 0
  for (const line of lines) {
    const taken = writer.write(line)
    if (taken === undefined) continue
    waits++
    await taken
  }
  await writer.flush()
  assert.equal(text, `${lines.join('\n')}\n`)
  assert.ok(waits >= 3, `${waits}`)
})

test('line writer: a reader that has gone is OutputClosed, and no message', async () => {
  const gone = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })
  const writer = new LineWriter(new Writable({ write: (_chunk, _encoding, done) => done(gone) }))
  assert.equal(writer.write('a line'), undefined)
  await assert.rejects(writer.flush(), (error: unknown) => {
    assert.deepEqual(failureReport(error), { text: '', exitCode: 0 })
    return error instanceof OutputClosed
  })
})
