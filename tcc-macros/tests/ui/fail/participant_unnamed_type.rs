trait Stock {}

#[tcc::participant(name = "inventory")]
impl dyn Stock {}

fn main() {}
