/** HttpMemory: who waits for memory goes on when there is some, is refused when it takes too long, and is forgotten when it is gone. */
import assert from 'node:assert/strict'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { test } from 'node:test'
import { HttpMemory } from '../../../broker/http/memory.ts'
import { sleep } from '../../../platform/clock.ts'
import { isPlayheadError } from '../../../protocol/errors.ts'
import { VirtualClock } from '../../client/virtual-clock.ts'

const bytesMax = 100_000

function memoryOf(clock: VirtualClock): HttpMemory {
  return new HttpMemory({ clock, bytesMax, stallMsMax: 1_000_000, waitingMax: 2, waitMsMax: 30_000 })
}

/** A request and what it was told. */
function ask(memory: HttpMemory, bytes: number, socket = new Socket()) {
  const request = new IncomingMessage(socket)
  const response = new ServerResponse(request)
  const told: (Error | 'begun')[] = []
  memory.enter(request, response, bytes, (error) => told.push(error ?? 'begun'))
  return { request, response, told }
}

test('http memory: one that waits goes on when another is over, and is not refused later', async () => {
  const clock = new VirtualClock()
  const memory = memoryOf(clock)
  const first = ask(memory, bytesMax)
  const second = ask(memory, 1000)
  assert.deepEqual([first.told, second.told], [['begun'], []])
  first.response.emit('close')
  assert.deepEqual(second.told, ['begun'])
  await clock.run(sleep(clock, 60_000))
  assert.deepEqual(second.told, ['begun'])
})

test('http memory: one that waits too long is refused as overloaded, and does not go on when there is room', async () => {
  const clock = new VirtualClock()
  const memory = memoryOf(clock)
  const first = ask(memory, bytesMax)
  const second = ask(memory, 1000)
  await clock.run(sleep(clock, 30_000))
  assert.equal(second.told.length, 1)
  assert.ok(isPlayheadError(second.told[0], 'overloaded'))
  first.response.emit('close')
  assert.equal(second.told.length, 1)
  assert.equal(memory.takenBytes, 0)
})

test('http memory: above the queue one is refused at once; one whose connection is gone is told nothing', async () => {
  const clock = new VirtualClock()
  const memory = memoryOf(clock)
  ask(memory, bytesMax)
  const gone = ask(memory, 1000)
  ask(memory, 1000)
  assert.ok(isPlayheadError(ask(memory, 1000).told[0], 'overloaded'))
  gone.request.socket.emit('close')
  await clock.run(sleep(clock, 60_000))
  assert.deepEqual(gone.told, [])
})

test('http memory: of one connection one request at a time; the next begins when it is over, or refused', async () => {
  const clock = new VirtualClock()
  const memory = memoryOf(clock)
  const socket = new Socket()
  const [first, second, third] = [ask(memory, 10, socket), ask(memory, bytesMax, socket), ask(memory, 10, socket)]
  const other = ask(memory, bytesMax)
  assert.deepEqual([first.told, second.told, other.told], [['begun'], [], ['begun']])
  first.response.emit('close')
  await clock.run(sleep(clock, 30_000))
  assert.ok(isPlayheadError(second.told[0], 'overloaded'))
  assert.deepEqual(third.told, [])
  other.response.emit('close')
  assert.deepEqual(third.told, ['begun'])
  third.response.emit('close')
  assert.equal(memory.takenBytes, 0)
  assert.deepEqual(ask(memory, 10, socket).told, ['begun'])
})
