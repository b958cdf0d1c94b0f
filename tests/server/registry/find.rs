//! Discovery: filters, orders, limits.
