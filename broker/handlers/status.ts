/** status: what the broker process is and uses. */
import type { Handler } from '../request.ts'

export const status: Handler<'status'> = async (_request, { services }) => ({ header: services.status() })
