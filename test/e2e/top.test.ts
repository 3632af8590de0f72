/** playhead top: one reading, as text and as JSON, with what readers have still to read. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect } from '../../client/index.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { ServedBroker } from './served-broker.ts'

test('top: topics with their amounts, and what named readers have still to read', async () => {
  await using directory = await TemporaryDirectory.make()
  await using broker = await ServedBroker.start(join(directory.path, 'data'))
  {
    await using playhead = await connect(broker.server)
    await playhead.admin.createTopic('carts')
    for (let index = 0; index < 12; index++) await playhead.topic('carts').stream('a').append({ type: 'T' })
    await playhead
      .topic('carts')
      .playhead('billing')
      .commit([{ partition: 0, offset: 5 }])
  }
  const text = await broker.ok('top', '--once', '--interval', '0.2')
  assert.match(text, /^playhead \S+, broker 0, up .* problems 0\n/)
  assert.match(text, /^carts +\d+ +\S+ \S+ +12 /m)
  assert.match(text, /^carts +billing +7$/m)
  const seen = JSON.parse(await broker.ok('top', '--json', '--interval', '0.2')) as {
    topics: { topic: string; records: number; lag: unknown[] }[]
  }
  assert.deepEqual(
    seen.topics.map(({ topic, records, lag }) => ({ topic, records, lag })),
    [{ topic: 'carts', records: 12, lag: [{ name: 'billing', records: 7 }] }],
  )
})
