/** The console's own reader of server-sent events: however the bytes are cut, the events are those that were sent. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

interface Sent {
  readonly event: string
  readonly data: string
  readonly id: string | undefined
}

/** The console is plain JavaScript: its types are said here. */
const { eventParser } = (await import(new URL('../../console/event-source.js', import.meta.url).href)) as {
  eventParser: (take: (event: Sent) => void) => (text: string) => void
}

test('event source: cut anywhere, the events are those that were sent; comments and empty ones are none', () => {
  const text =
    ': heartbeat\n\nid: 0:1\ndata: {"a":"b: c\\n"}\n\n\n\nevent: end\ndata: {"code":"stopping"}\n\nid:7\ndata:x\n\ndata: not whole'
  const wanted = [
    { event: 'message', data: '{"a":"b: c\\n"}', id: '0:1' },
    { event: 'end', data: '{"code":"stopping"}', id: undefined },
    { event: 'message', data: 'x', id: '7' },
  ]
  for (let first = 0; first <= text.length; first++)
    for (let second = first; second <= text.length; second += 7) {
      const found: Sent[] = []
      const parse = eventParser((event) => found.push(event))
      for (const piece of [text.slice(0, first), text.slice(first, second), text.slice(second)]) parse(piece)
      assert.deepEqual(found, wanted, `${first} ${second}`)
    }
})
