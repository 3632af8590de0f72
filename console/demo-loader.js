/**
 * Demo loader: reads the shop's history as a stream, unpacks and parses it on the way, and appends it in the order of its rows, some thousand at a time, one request
 * for each customer among them, on the version that the rows before it make. Stopped and begun again it goes on where each stream ends: nothing is there twice.
 */
import { get, path, send } from './api.js'

export const demoTopic = 'demo-carts'
export const demoCustomer = '14911'
const partitions = 4
const rowsPerChunk = 200_000
/** As many connections as a browser opens: each waits for the disk, and those that wait at once are made durable together. */
const requestsAtOnce = 6
/** Well below what a batch may have. */
const eventsPerRequest = 500
const numbers = new Set(['Quantity', 'UnitPrice'])

/** Answers how long it took, ms. */
export async function loadDemo(signal, onProgress) {
  const startedMs = performance.now()
  const { topics } = await get('/api/topics')
  if (!topics.some(({ topic }) => topic === demoTopic))
    await send('POST', '/api/topics', { topic: demoTopic, partitions })
  const response = await fetch('demo/online-retail.csv.gz', { signal })
  if (!response.ok)
    throw { code: 'unavailable', detail: `the demo's data: found status ${response.status}, wanted the file` }
  const versions = await lastVersions(signal)
  /** Of each stream, how many rows came so far. */
  const rowsOf = new Map()
  const rows = csvRows(response.body.pipeThrough(new DecompressionStream('gzip')).pipeThrough(new TextDecoderStream()))
  let chunk = new Map()
  let heads
  let done = 0
  let inChunk = 0
  const flush = async () => {
    const before = done
    await appendChunk(chunk, signal, (count) => onProgress((done += count)))
    done = before + inChunk
    inChunk = 0
    chunk = new Map()
    onProgress(done)
  }
  for await (const row of rows) {
    signal.throwIfAborted()
    if (heads === undefined) {
      heads = row
      continue
    }
    inChunk++
    const { stream, event } = eventOf(heads, row)
    const version = rowsOf.get(stream) ?? 0
    rowsOf.set(stream, version + 1)
    if (version <= (versions.get(stream) ?? -1)) continue
    const part = chunk.get(stream)
    if (part) part.events.push(event)
    else chunk.set(stream, { version, events: [event] })
    if (inChunk >= rowsPerChunk) await flush()
  }
  await flush()
  return performance.now() - startedMs
}

function eventOf(heads, row) {
  const data = {}
  for (const [index, head] of heads.entries()) data[head] = numbers.has(head) ? Number(row[index]) : row[index]
  return { stream: data.CustomerID || 'no-customer', event: { type: 'OrderLine', data, timestamp: data.InvoiceDate } }
}

/** What a run before has appended already. */
async function lastVersions(signal) {
  const versions = new Map()
  for (let after; ; ) {
    const { streams, more } = await get(`${path.topic(demoTopic)}/streams`, { after, limit: 10_000 }, signal)
    for (const { stream, lastVersion } of streams) versions.set(stream, lastVersion)
    if (!more) return versions
    after = streams.at(-1).stream
  }
}

/** A stream is one worker's: what it sends of it follows each other, and so the order is kept. */
async function appendChunk(chunk, signal, onAppended) {
  const left = [...chunk]
  const worker = async () => {
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      const [stream, { version, events }] = next
      for (let from = 0; from < events.length; from += eventsPerRequest) {
        signal.throwIfAborted()
        const expectedVersion = version + from === 0 ? 'none' : version + from - 1
        const part = events.slice(from, from + eventsPerRequest)
        await send('POST', path.stream(demoTopic, stream), part, { expectedVersion })
        onAppended(part.length)
      }
    }
  }
  await Promise.all(Array.from({ length: requestsAtOnce }, worker))
}

/** The rows of CSV text that comes in pieces; quotes as in RFC 4180. */
export async function* csvRows(texts) {
  let rest = ''
  for await (const text of texts) {
    rest += text
    let at = 0
    for (;;) {
      const found = rowAt(rest, at)
      if (found === undefined) break
      if (found.row.length > 1 || found.row[0] !== '') yield found.row
      at = found.end
    }
    rest = rest.slice(at)
  }
  if (rest !== '') {
    const found = rowAt(`${rest}\n`, 0)
    if (found) yield found.row
  }
}

function rowAt(text, from) {
  const lineEnd = text.indexOf('\n', from)
  if (lineEnd < 0) return undefined
  // Nearly every row: nothing is quoted, and the line is the row.
  const quote = text.indexOf('"', from)
  if (quote < 0 || quote > lineEnd)
    return { row: text.slice(from, text[lineEnd - 1] === '\r' ? lineEnd - 1 : lineEnd).split(','), end: lineEnd + 1 }
  const row = []
  let field = ''
  let isQuoted = false
  for (let at = from; at < text.length; at++) {
    const character = text[at]
    if (isQuoted) {
      if (character !== '"') field += character
      else if (text[at + 1] === '"') field += text[++at]
      else isQuoted = false
    } else if (character === '"') isQuoted = true
    else if (character === ',') {
      row.push(field)
      field = ''
    } else if (character === '\n') {
      row.push(field)
      return { row, end: at + 1 }
    } else if (character !== '\r') field += character
  }
  return undefined
}
