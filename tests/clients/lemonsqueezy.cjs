// Walks through the official SDK against the simulator; only the origin of its requests is rewritten.
// Prints {"problems": [...], "calls": n}. Environment: LEMON_SQUEEZY_API_URL, LEMON_SQUEEZY_API_KEY, CONTROL_URL.
const ls = require("@lemonsqueezy/lemonsqueezy.js");

const send = globalThis.fetch;
globalThis.fetch = (url, init) =>
  send(String(url).replace("https://api.lemonsqueezy.com", process.env.LEMON_SQUEEZY_API_URL), init);

const problems = [];
let calls = 0;

/** Wait for a call; note it unless it answers `status` and what it answers passes `check`. */
async function want(name, call, status = 200, check = () => true) {
  calls += 1;
  const answer = await call;
  if (answer.statusCode !== status || !check(answer.data)) {
    problems.push({ name, status: answer.statusCode, error: String(answer.error?.message), cause: answer.error?.cause });
  }
  return answer.data?.data;
}

async function control(path, body = {}) {
  const answer = await send(process.env.CONTROL_URL + path, { method: "POST", body: JSON.stringify(body) });
  return (await answer.json()).data;
}

async function goods() {
  await want("user", ls.getAuthenticatedUser(), 200, (d) => d.meta.test_mode === false);
  const [store] = await want("stores", ls.listStores({ include: ["products"] }), 200, (d) => d.included.length === 3);
  await want("store", ls.getStore(store.id, { include: ["orders"] }));
  const [product] = await want("products", ls.listProducts({ filter: { storeId: store.id }, page: { size: 5 } }));
  await want("product", ls.getProduct(product.id, { include: ["variants"] }), 200, (d) => d.included.length === 2);
  const variants = await want("variants", ls.listVariants({ page: { number: 1, size: 100 } }));
  const plans = variants.filter((one) => one.attributes.is_subscription);
  await want("variant", ls.getVariant(plans[0].id, { include: ["price-model"] }), 200, (d) => d.included.length === 1);
  const [price] = await want("prices", ls.listPrices({ filter: { variantId: plans[0].id } }));
  await want("price", ls.getPrice(price.id, { include: ["variant"] }));
  await want("files", ls.listFiles({ filter: { variantId: plans[0].id } }), 200, (d) => d.data.length === 0);
  await want("no file", ls.getFile(1), 404);
  return { store: store.id, plans };
}

async function people(store) {
  const made = await want("new customer", ls.createCustomer(store, { name: "Ann", email: "ann@b.example" }), 201);
  await want("renamed", ls.updateCustomer(made.id, { name: "Anna" }), 200, (d) => d.data.attributes.name === "Anna");
  await want("bad status", ls.updateCustomer(made.id, { status: "subscribed" }), 422);
  await want("archived", ls.archiveCustomer(made.id), 200, (d) => d.data.attributes.status === "archived");
  await want("customer", ls.getCustomer(made.id, { include: ["orders"] }));
  const filter = { storeId: store, email: "ann@b.example" };
  await want("customers", ls.listCustomers({ filter }), 200, (d) => d.data.length === 1);
}

async function hooks(store) {
  const given = { url: "https://127.0.0.1:9/x", events: ["order_created", "order_refunded"], secret: "secret-secret" };
  const made = await want("new webhook", ls.createWebhook(store, given), 201);
  const one = (d) => d.data.attributes.events.length === 1;
  await want("changed webhook", ls.updateWebhook(made.id, { events: ["order_created"] }), 200, one);
  await want("webhook", ls.getWebhook(made.id, { include: ["store"] }));
  await want("webhooks", ls.listWebhooks({ filter: { storeId: store } }), 200, (d) => d.data.length === 1);
  await ls.deleteWebhook(made.id); // the SDK cannot read the empty 204 it gets here; the webhook is gone all the same
  await want("deleted webhook", ls.getWebhook(made.id), 404);
}

async function buying(store, plan) {
  const ten = { storeId: store, name: "10%", code: "TENOFF", amount: 10, amountType: "percent", variantIds: [plan.id] };
  const discount = await want("new discount", ls.createDiscount(ten), 201);
  await want("discount", ls.getDiscount(discount.id, { include: ["variants"] }), 200, (d) => d.included.length === 1);
  await want("discounts", ls.listDiscounts({ filter: { storeId: store } }));
  const quantity = { variantId: Number(plan.id), quantity: 2 };
  const checkoutData = { email: "buyer@b.example", discountCode: "TENOFF", custom: { kommo_lead_id: "77" } };
  const given = { customPrice: 5000, preview: true, checkoutData: { ...checkoutData, variantQuantities: [quantity] } };
  const previewed = (d) => d.data.attributes.preview.total === 9000;
  const checkout = await want("new checkout", ls.createCheckout(store, plan.id, given), 201, previewed);
  await want("unknown variant", ls.createCheckout(store, 99999999), 404);
  const custom = (d) => d.data.attributes.checkout_data.custom.kommo_lead_id === "77";
  await want("checkout", ls.getCheckout(checkout.id, { include: ["store", "variant"] }), 200, custom);
  await want("checkouts", ls.listCheckouts({ filter: { variantId: plan.id } }), 200, (d) => d.data.length === 1);
  const order = await control(`/checkouts/${checkout.id}/pay`);
  const filter = { storeId: store, userEmail: "buyer@b.example" };
  await want("orders", ls.listOrders({ filter, include: ["customer"] }), 200, (d) => d.data[0].attributes.total === 9000);
  const include = ["order-items", "customer", "subscriptions", "discount-redemptions", "license-keys", "store"];
  await want("order", ls.getOrder(order.id, { include }), 200, (d) => d.included.length === 5);
  const [item] = await want("order items", ls.listOrderItems({ filter: { orderId: order.id } }));
  await want("order item", ls.getOrderItem(item.id, { include: ["order", "product", "variant"] }));
  const download = (d) => d.meta.urls.download_invoice.includes("zip_code=123");
  await want("order invoice", ls.generateOrderInvoice(order.id, { name: "A", zipCode: 123 }), 200, download);
  const [used] = await want("redemptions", ls.listDiscountRedemptions({ filter: { orderId: order.id } }));
  await want("redemption", ls.getDiscountRedemption(used.id, { include: ["discount", "order"] }));
  return order.id;
}

async function subscribing(orderId, other) {
  const filter = { orderId, userEmail: "buyer@b.example", status: "active" };
  const [{ id }] = await want("subscriptions", ls.listSubscriptions({ filter, include: ["subscription-invoices"] }));
  const names = ["store", "customer", "order", "order-item", "product", "variant", "subscription-items"];
  await want("subscription", ls.getSubscription(id, { include: names }), 200, (d) => d.included.length === 7);
  const [item] = await want("items", ls.listSubscriptionItems({ filter: { subscriptionId: id } }));
  await want("item", ls.getSubscriptionItem(item.id, { include: ["price", "usage-records"] }));
  await want("seats", ls.updateSubscriptionItem(item.id, 3), 200, (d) => d.data.attributes.quantity === 3);
  await want("seats at once", ls.updateSubscriptionItem(item.id, { quantity: 4, invoiceImmediately: true }));
  await want("usage", ls.getSubscriptionItemCurrentUsage(item.id), 404);
  const has = (name, value) => (d) => JSON.stringify(d.data.attributes[name]) === JSON.stringify(value);
  const change = (changes, name, value) => want(name, ls.updateSubscription(id, changes), 200, has(name, value));
  await change({ variantId: Number(other.id), invoiceImmediately: true }, "variant_id", Number(other.id));
  const pause = { mode: "void", resumes_at: "2099-05-05T00:00:00.000000Z" };
  await change({ pause: { mode: "void", resumesAt: "2099-05-05" } }, "pause", pause);
  await change({ pause: null }, "pause", null);
  await change({ billingAnchor: 15 }, "billing_anchor", 15);
  await change({ trialEndsAt: "2099-01-01" }, "status", "on_trial");
  await want("cancelled", ls.cancelSubscription(id), 200, has("status", "cancelled"));
  await change({ cancelled: false }, "cancelled", false);
  return id;
}

async function invoicing(orderId, subscriptionId) {
  const filter = { status: "paid", refunded: false, subscriptionId };
  const invoices = await want("invoices", ls.listSubscriptionInvoices({ filter }), 200, (d) => d.data.length === 3);
  const { id } = invoices.find((one) => one.attributes.billing_reason === "initial");
  await want("invoice", ls.getSubscriptionInvoice(id, { include: ["subscription", "customer"] }));
  await want("invoice file", ls.generateSubscriptionInvoice(id, { name: "A" }));
  const gave = (amount) => (d) => d.data.attributes.refunded_amount === amount;
  await want("invoice refund", ls.issueSubscriptionInvoiceRefund(id, 100), 200, gave(100));
  await want("order refund", ls.issueOrderRefund(orderId, 100), 200, gave(200));
}

async function keys() {
  const variant = await control("/variants", { name: "Keyed", price: 900, license_keys: true });
  const order = await control("/orders", { email: "key@b.example", variant_id: Number(variant.id) });
  const [key] = await want("keys", ls.listLicenseKeys({ filter: { orderId: order.id } }));
  await want("key", ls.getLicenseKey(key.id, { include: ["license-key-instances", "order"] }));
  const off = (d) => d.data.attributes.status === "disabled";
  await want("disabled key", ls.updateLicenseKey(key.id, { activationLimit: 7, disabled: true }), 200, off);
  await want("instances", ls.listLicenseKeyInstances({ filter: { licenseKeyId: key.id } }));
}

async function main() {
  ls.lemonSqueezySetup({ apiKey: process.env.LEMON_SQUEEZY_API_KEY });
  const { store, plans } = await goods();
  await people(store);
  await hooks(store);
  const orderId = await buying(store, plans[0]);
  await invoicing(orderId, await subscribing(orderId, plans[1]));
  await keys();
  ls.lemonSqueezySetup({ apiKey: "wrong" });
  await want("wrong key", ls.getAuthenticatedUser(), 401);
  console.log(JSON.stringify({ problems, calls }));
}

main();
