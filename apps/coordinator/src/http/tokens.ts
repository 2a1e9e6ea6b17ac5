// Injection tokens of what the HTTP side is given besides the ports.
// Refuses to hold values.
export const CONFIG = Symbol('CoordinatorConfig');
export const LOGGER = Symbol('Logger');
export const DASHBOARD_DIR = Symbol('DashboardDir');
