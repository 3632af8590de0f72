import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { ProgressBar, progressLine, readingLine } from '../../cli/progress-bar.ts'

const half = { phase: 'importing', bytesRead: 50, bytesTotal: 100, records: 270_000, elapsedMs: 1_000 } as const

test('progress bar: says how far, how many rows, how fast and how long, never wider than the terminal', () => {
  assert.equal(progressLine(half, 200), '[##############..............]  50%  270,000 rows  270,000/s  1 s left')
  assert.ok(progressLine(half, 40).length < 40)
  assert.match(progressLine({ ...half, bytesTotal: 0 }, 80), / 100% /)
})

test('progress bar: nothing at all where there is no terminal', () => {
  const pipe = new PassThrough() as unknown as NodeJS.WriteStream
  const bar = new ProgressBar(pipe, progressLine)
  bar.update(half)
  bar.finish()
  assert.equal((pipe as unknown as PassThrough).read(), null)
})

test('progress bar: draws at most every 100 ms, and ends its line once', () => {
  const written: string[] = []
  const terminal = { isTTY: true, columns: 80, write: (text: string) => written.push(text) }
  const bar = new ProgressBar(terminal as unknown as NodeJS.WriteStream, progressLine)
  for (let count = 0; count < 1_000; count++) bar.update({ ...half, records: count })
  bar.finish()
  bar.finish()
  const text = written.join('')
  assert.ok(text.split('\r').length < 20)
  assert.match(text, /999 rows.*\n$/)
  assert.equal(text.split('\n').length, 2)
})

test('progress bar: of a verification says bytes, rate and the time left, then what comes after the reading', () => {
  const line = { bytesRead: 1_500_000_000, bytesTotal: 6_000_000_000, elapsedMs: 1_000 }
  assert.equal(readingLine(line, 200), '[#######.....................]  25%  1.5 GB of 6.0 GB  1.5 GB/s  3 s left')
  assert.match(readingLine({ ...line, bytesRead: line.bytesTotal }, 200), /100%.*comparing streams$/)
  assert.ok(readingLine(line, 30).length < 30)
})
