import assert from 'node:assert/strict'
import { test } from 'node:test'
import { failureReport } from '../../cli/failure-report.ts'

test('failures: a disk that fails is no bug of ours, anything else unexpected is', () => {
  const diskError = Object.assign(new Error('EIO: i/o error, write'), { code: 'EIO' })
  const { text, exitCode } = failureReport(diskError)
  assert.match(text, /^error: storage-failed: found EIO: i\/o error, write, wanted a disk that works; .+\n$/)
  assert.equal(exitCode, 1)
  assert.match(
    failureReport(new TypeError('no such thing')).text,
    /^error: internal: TypeError: no such thing\n[^]*bug/,
  )
})
