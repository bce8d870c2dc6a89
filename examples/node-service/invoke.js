/** Calls the function as a cloud does, and ends the process with its answer: `npm run invoke USER INVOICE AMOUNT`. */

import { handler } from "./lambda.js";

const [userId = "ada", invoice = "1", amount = "30"] = process.argv.slice(2);
console.log(JSON.stringify(await handler({ userId, invoice, amount: Number(amount) })));
process.exit(0); // nothing runs on after the answer
