/**
 * The bare prototype's client: fills batches with records in the product's own record format by the shortest loop there is, and keeps some
 * of them in flight. Run by prototype.ts: node client.ts PORT RECORDS RECORD_BYTES BATCH_BYTES IN_FLIGHT.
 */
import net from 'node:net'
import { crc32c } from '../../protocol/crc32c.ts'
import { writeVarint, varintBytes } from '../../protocol/varint.ts'

const [port = 0, records = 0, recordBytes = 0, batchBytes = 0, inFlightMax = 0] = process.argv.slice(2).map(Number)
const value = Buffer.alloc(recordBytes, 'x')
const recordsPerBatch = Math.max(1, Math.floor(batchBytes / recordBytes))
const headBytes = 12
const free: Buffer[] = []
const flying = new Map<number, { frame: Buffer; records: number }>()
let sent = 0
let acknowledged = 0
let correlation = 0

function writeRecords(frame: Buffer, count: number): number {
  let at = headBytes
  for (let index = 0; index < count; index++) {
    const body = 1 + 1 + varintBytes(index) + 1 + varintBytes(recordBytes) + recordBytes + 1
    at = writeVarint(frame, at, body)
    frame[at++] = 0
    frame[at++] = 0
    at = writeVarint(frame, at, index)
    frame[at++] = 1
    at = writeVarint(frame, at, recordBytes)
    frame.set(value, at)
    at += recordBytes
    frame[at++] = 0
  }
  return at
}

const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
const startedMs = performance.now()

function send(): void {
  while (flying.size < inFlightMax && sent < records) {
    const count = Math.min(recordsPerBatch, records - sent)
    const frame = free.pop() ?? Buffer.allocUnsafeSlow(headBytes + recordsPerBatch * (recordBytes + 16))
    const end = writeRecords(frame, count)
    frame.writeUInt32LE(end - 4, 0)
    frame.writeUInt32LE(++correlation, 4)
    frame.writeUInt32LE(crc32c(frame.subarray(headBytes, end)), 8)
    flying.set(correlation, { frame, records: count })
    sent += count
    socket.write(frame.subarray(0, end))
  }
}

let rest: Buffer = Buffer.alloc(0)
socket.on('data', (chunk: Buffer) => {
  const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk
  let at = 0
  for (; bytes.length - at >= 4; at += 4) {
    const key = bytes.readUInt32LE(at)
    const { frame, records: count } = flying.get(key)!
    flying.delete(key)
    free.push(frame)
    acknowledged += count
  }
  rest = bytes.subarray(at)
  if (acknowledged < records) return send()
  const seconds = (performance.now() - startedMs) / 1000
  const { user, system } = process.cpuUsage()
  const figures = {
    recordsPerSecond: Math.round(records / seconds),
    mbPerSecond: Math.round((records * recordBytes) / seconds / 1e6),
  }
  console.log(JSON.stringify({ ...figures, seconds, client: { cpuSeconds: (user + system) / 1e6 } }))
  socket.end()
})
socket.on('connect', send)
