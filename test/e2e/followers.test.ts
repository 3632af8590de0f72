/** A thousand who follow one topic over HTTP, each checked for every event in order: the small form of bench/http/followers.ts, which measures. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const bench = join(import.meta.dirname, '..', '..', 'bench', 'http', 'followers.ts')

interface Found {
  readonly complete: number
  readonly wrong: number
  readonly dropped: number
  readonly aloneRssMb: number
  readonly followedRssMb: number
}

test('followers: 1,000 of one topic receive everything in order, in bounded memory (100 events a second for 4 s)', async (t) => {
  const { stdout } = await promisify(execFile)(process.execPath, [bench, '--rate', '100', '--seconds', '4'])
  const found = JSON.parse(stdout) as Found
  t.diagnostic(stdout.trim())
  assert.deepEqual([found.complete, found.wrong, found.dropped], [1_000, 0, 0])
  // A socket and what waits for it: well below followerBufferBytesMax for each.
  assert.ok(found.followedRssMb - found.aloneRssMb < 150, `${found.aloneRssMb} MB, then ${found.followedRssMb} MB`)
})
