#[tcc::participant(name = "inventory")]
pub struct Inventory;

fn main() {}
