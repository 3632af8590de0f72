/** Rows of the demo's shop, as the console's loader reads them. */
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { createGunzip } from 'node:zlib'

/** The console is plain JavaScript: its types are said here. */
const { csvRows } = (await import(new URL('../../console/demo-loader.js', import.meta.url).href)) as {
  csvRows: (texts: AsyncIterable<string>) => AsyncIterable<string[]>
}
const file = join(import.meta.dirname, '..', '..', 'examples', 'customer-journey', 'online-retail.csv.gz')

/** The events of one customer, oldest first. */
export async function eventsOf(customer: string): Promise<object[]> {
  const events: object[] = []
  let heads: string[] | undefined
  for await (const row of csvRows(createReadStream(file).pipe(createGunzip()).setEncoding('utf8'))) {
    heads ??= row
    if (row[heads.indexOf('CustomerID')] !== customer) continue
    const data = Object.fromEntries(
      heads.map((head, index) => [head, head === 'Quantity' || head === 'UnitPrice' ? Number(row[index]) : row[index]]),
    )
    events.push({ type: 'OrderLine', data, timestamp: data['InvoiceDate'] })
  }
  return events
}
