/**
 * Rewind: one customer's cart as it was at any moment.
 *
 *   node examples/customer-journey/rewind.ts [CUSTOMER] [MOMENT]…        default: 14911, three moments of 2011
 */
import { connect } from 'playhead'
import { cartOf } from './cart.ts'
import { pounds } from './order-line.ts'

const [customer = '14911', ...given] = process.argv.slice(2)
const moments = given.length > 0 ? given : ['2011-01-01T00:00:00Z', '2011-06-01T00:00:00Z', '2011-12-10T00:00:00Z']

await using playhead = await connect(process.env['PLAYHEAD_SERVER'] ?? 'playhead://localhost:7420')
const journey = playhead.topic('carts').stream(customer)

for (const asOf of moments) {
  const cart = await journey.fold(cartOf, { asOf })
  const [favourite] = [...cart.articles].toSorted(([, one], [, other]) => other - one)
  console.log(
    `customer ${customer} as of ${asOf}: ${cart.lines} lines, ${cart.quantity} articles, ${pounds(cart.pence)}`,
  )
  if (favourite !== undefined) console.log(`  most of: ${favourite[1]} × ${favourite[0]}`)
}
