/** Cart: what one customer has bought and kept, folded from that customer's stream. Used by rewind.ts. */
import type { Reducer } from 'playhead'
import { orderLineOf, penceOf } from './order-line.ts'

export interface Cart {
  /** Order lines so far, returns among them. */
  lines: number
  /** Articles kept: bought less returned. */
  quantity: number
  pence: number
  /** Articles kept, by description. */
  readonly articles: Map<string, number>
}

export const cartOf: Reducer<Cart> = {
  initial: () => ({ lines: 0, quantity: 0, pence: 0, articles: new Map() }),
  apply(cart, event) {
    const line = orderLineOf(event)
    cart.lines += 1
    cart.quantity += line.Quantity
    cart.pence += penceOf(line)
    cart.articles.set(line.Description, (cart.articles.get(line.Description) ?? 0) + line.Quantity)
    return cart
  },
}
