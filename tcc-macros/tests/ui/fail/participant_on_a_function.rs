#[tcc::participant(name = "inventory")]
async fn reserve() {}

fn main() {}
