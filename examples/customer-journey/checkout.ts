/**
 * Checkout: decide on what you have seen, and be told when it has changed. Two tills look at the same customer's credit; each sells only if
 * it is enough. Both decide on the same version, so one append is refused; that till looks again, and decides again.
 *
 *   node examples/customer-journey/checkout.ts
 */
import { connect, isPlayheadError } from 'playhead'
import type { EventStream, Reducer } from 'playhead'
import { pounds } from './order-line.ts'

/** Pence the customer may still spend. */
const creditOf: Reducer<number> = {
  initial: 0,
  apply(credit, event) {
    const { pence } = event.data as { pence: number }
    return event.type === 'CreditGranted' ? credit + pence : credit - pence
  },
}

async function sell(
  till: string,
  customer: EventStream,
  pence: number,
  seen = customer.foldWithVersion(creditOf),
): Promise<void> {
  const { state: credit, version } = await seen
  if (credit < pence) return console.log(`${till}: no sale, ${pounds(credit)} left at version ${version}`)
  try {
    const sold = await customer.append({ type: 'Sold', data: { till, pence } }, { expectedVersion: version })
    console.log(`${till}: sold for ${pounds(pence)} as version ${sold.version}`)
  } catch (error) {
    if (!isPlayheadError(error, 'wrongExpectedVersion')) throw error
    console.log(`${till}: refused: ${error.message}`)
    await sell(till, customer, pence)
  }
}

await using playhead = await connect(process.env['PLAYHEAD_SERVER'] ?? 'playhead://localhost:7420')
try {
  await playhead.admin.createTopic('credit')
} catch (error) {
  if (!isPlayheadError(error, 'topicExists')) throw error
}
const customer = playhead.topic('credit').stream(`customer-${Date.now()}`)
await customer.append({ type: 'CreditGranted', data: { pence: 10_000 } }, { expectedVersion: 'none' })

const seenByBoth = customer.foldWithVersion(creditOf)
await Promise.all([sell('till 1', customer, 6_000, seenByBoth), sell('till 2', customer, 6_000, seenByBoth)])
console.log(`left: ${pounds(await customer.fold(creditOf))}`)
