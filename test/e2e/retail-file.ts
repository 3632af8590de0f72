/** The history of a real shop that the issue names, and how it is imported. */
import { join } from 'node:path'

export const retailFile = join(import.meta.dirname, '..', '..', 'examples', 'customer-journey', 'online-retail.csv.gz')

export const retailFacts = { rows: 541_909, customers: 4_372, withoutCustomer: 135_080 }

const flags =
  '--stream CustomerID --else-stream nobody --type =OrderLine --time InvoiceDate --number Quantity --number UnitPrice'
export const retailFlags = flags.split(' ')
